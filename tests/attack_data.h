// Data made to attack the screen's bounds, for attacks.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "expansive/neighbors.h"

namespace expansive {
namespace {

using Random = std::mt19937;

struct Matrix {
  int64_t n, d;
  std::vector<double> values;  // each a float32 where `wide` is false
  bool wide = false;

  double* row(int64_t i) { return values.data() + i * d; }
  const double* row(int64_t i) const { return values.data() + i * d; }
};

Matrix make(int64_t n, int64_t d, const std::function<double(int64_t, int64_t)>& value) {
  Matrix x{n, d, std::vector<double>(static_cast<size_t>(n * d))};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < d; ++j) x.row(i)[j] = static_cast<float>(value(i, j));
  }
  return x;
}

// ---- data -----------------------------------------------------------------------------------

struct Attack {
  const char* name;
  Matrix x;
  int64_t k;
  std::vector<float> basis = {};    // [rank][d]
  int64_t every = 1;                // a row that is a query, of so many
  std::vector<int64_t> codes = {};  // classes
  Relation relation = Relation::any;
  double stretch = 1.0;  // of a row that is a query
};

double normal(Random& random) { return std::normal_distribution<double>()(random); }
int whole(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// Ties by the thousand.
Attack ties(Random& random) {
  return {"ties", make(1200, 3, [&](int64_t, int64_t) { return whole(random, -1, 1); }), 5};
}

// The same in three classes.
Attack ties_in_classes(Random& random, Relation relation) {
  Attack attack = ties(random);
  attack.name = "ties in classes";
  attack.relation = relation;
  for (int64_t i = 0; i < attack.x.n; ++i) attack.codes.push_back(whole(random, 0, 2));
  return attack;
}

Attack normal_rows(Random& random) {
  return {"normal rows", make(700, 12, [&](int64_t, int64_t) { return normal(random); }), 5};
}

// What is near comes early: the rows seen so far promise more than there are.
Attack sorted_rows(Random& random) {
  return {"sorted rows",
          make(3000, 3, [&](int64_t i, int64_t j) { return j == 0 ? i : normal(random); }),
          50,
          {},
          4};
}

// Norms far larger than distances, which are small integers: float32 sums of the products round.
Attack far_clusters(Random& random) {
  return {"far clusters",
          make(400, 32,
               [&](int64_t i, int64_t) { return (i % 2 == 0 ? 0 : 3001) + whole(random, -2, 2); }),
          6};
}

// All rows agree in a coordinate that is large and so fixes the scale; the others are so small that
// their products are subnormal in float32.
Attack tiny_beside_one(Random& random) {
  return {"tiny beside one",
          make(400, 17,
               [&](int64_t, int64_t j) { return j == 0 ? 1.0 : whole(random, -9, 9) * 0x1p-74; }),
          5};
}

// Squared distances are subnormal in float64.
Attack tiny_squares(Random& random) {
  Matrix x{300, 9, {}, true};
  for (int64_t i = 0; i < x.n * x.d; ++i) x.values.push_back(whole(random, -9, 9) * 0x1p-539);
  return {"tiny squares", x, 5};
}

// Two groups on the two sides of a point halfway between numbers of eight bits: they are near each
// other and their images are not. The smaller group has fewer rows than neighbours are wanted.
// Zeros, the larger part, make the centre zero.
Attack aligned_roundings(Random& random) {
  return {"aligned roundings",
          make(600, 16,
               [&](int64_t i, int64_t) {
                 const double way = i % 100 == 0 ? 0.45 : 0.55;
                 const double noise = 0.01 * normal(random);
                 return i % 5 > 1 ? 0.0 : 1.0 + 0x1p-7 * (way + noise);
               }),
          9};
}

Attack one_huge_coordinate(Random& random) {
  Matrix x = make(400, 8, [&](int64_t, int64_t) { return normal(random); });
  x.row(7)[3] = 0x1p90;
  return {"one huge coordinate", x, 4};
}

Attack huge_offset(Random& random) {
  return {"huge offset", make(400, 8, [&](int64_t, int64_t) { return 1e6 + normal(random); }), 4};
}

// Whole numbers in a small cube, and far rows, each along an axis, which make the scale of whole
// elements 1: images lose nothing, half norms are halves of whole numbers, and neighbours tie.
Attack whole_ties(Random& random) {
  Matrix x = make(900, 5, [&](int64_t i, int64_t) { return i % 3 > 0 ? 0 : whole(random, -2, 2); });
  for (int64_t i = 0; i < x.n; ++i) {
    if (i % 3 > 0) x.row(i)[whole(random, 0, 4)] = i % 3 == 1 ? 8000.0 : -8000.0;
  }
  return {"whole ties", x, 7};
}

// Rows of normal numbers of which one in `step` lies far out, along a few directions; half of those
// have their nearest row beside them.
Matrix rows_far_out(Random& random, int64_t d, int64_t first, int64_t step, double unit,
                    int farthest) {
  Matrix x = make(2550, d, [&](int64_t, int64_t) { return normal(random); });
  for (int64_t i = first; i < x.n; i += step) {
    const double length = unit * whole(random, 1, farthest);
    for (int64_t j = 0; j < d; ++j) {
      const double way = ((i / (2 * step)) >> (j % 2)) % 2 == 0 ? 1.0 : -1.0;
      x.row(i)[j] = static_cast<float>(way * length + 0.3 * normal(random));
    }
  }
  return x;
}

// Every tenth row is outside the ball of elements that are whole numbers: on its surface a
// direction's rows are all in one place. None is sampled.
Attack far_out(Random& random) {
  return {"far out", rows_far_out(random, 16, 5, 10, 40.0, 4), 3, {}, 5};
}

// The same, but so little outside that whole elements would hold the rows, and not their sums.
Attack a_little_far_out(Random& random) {
  return {"a little far out", rows_far_out(random, 16, 5, 10, 8.0, 1), 3, {}, 5};
}

Attack subnormal_rows(Random& random) {
  return {"subnormal rows",
          make(300, 8, [&](int64_t, int64_t) { return whole(random, -9, 9) * 0x1p-149; }), 5};
}

// ---- data looked at along a few directions --------------------------------------------------

std::vector<float> orthonormal(Random& random, int64_t rank, int64_t d) {
  std::vector<std::vector<double>> rows;
  for (int64_t r = 0; r < rank; ++r) {
    std::vector<double> row(static_cast<size_t>(d));
    for (double& v : row) v = normal(random);
    for (int pass = 0; pass < 2; ++pass) {
      for (const auto& other : rows) {
        double product = 0.0;
        for (size_t j = 0; j < row.size(); ++j) product += row[j] * other[j];
        for (size_t j = 0; j < row.size(); ++j) row[j] -= product * other[j];
      }
    }
    double squared = 0.0;
    for (const double v : row) squared += v * v;
    for (double& v : row) v /= std::sqrt(squared);
    rows.push_back(row);
  }
  std::vector<float> basis;
  for (const auto& row : rows) basis.insert(basis.end(), row.begin(), row.end());
  return basis;
}

// What is cut off is large and points everywhere.
Attack large_rests(Random& random) {
  Attack attack = normal_rows(random);
  attack.name = "large rests";
  attack.basis = orthonormal(random, 2, attack.x.d);
  return attack;
}

Attack some_directions(Random& random) {
  Attack attack = normal_rows(random);
  attack.name = "some directions";
  attack.basis = orthonormal(random, 6, attack.x.d);
  return attack;
}

Attack crooked_basis(Random& random, double stretch) {
  Attack attack = some_directions(random);
  attack.name = "crooked basis";
  for (float& v : attack.basis) v *= static_cast<float>(stretch);
  return attack;
}

// The groups of `aligned_roundings`, seen along the one direction they lie in.
Attack aligned_roundings_in_line(Random& random) {
  Attack attack = aligned_roundings(random);
  attack.name = "aligned roundings in line";
  attack.basis.assign(16, 0.25f);
  return attack;
}

// Rows along one direction. Float32 sums along it round down again and again for a few of them, and
// are exact for the others: what is left of the few when it is cut off seems large, and is nothing.
Attack aligned_sums(Random& random) {
  const int64_t n = 500, d = 256;
  std::vector<double> size(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const double excess = i % 100 == 0 ? 0.45 : whole(random, 0, 1);
    size[static_cast<size_t>(i)] = i % 5 > 1 ? 0.0 : 1.0 + 0x1p-17 * excess;
  }
  return {"aligned sums",
          make(n, d, [&](int64_t i, int64_t) { return size[static_cast<size_t>(i)]; }), 9,
          std::vector<float>(static_cast<size_t>(d), 0x1p-4f), 5};
}

// Two clusters far apart along the basis: what is cut off is a small difference of large numbers,
// and all that tells the rows of a cluster from one another.
Attack small_rests(Random& random, double size) {
  const int64_t d = 20, rank = 5;
  const std::vector<float> basis = orthonormal(random, rank, d);
  std::vector<double> along(static_cast<size_t>(d));
  for (size_t i = 0; i < basis.size(); ++i) along[i % along.size()] += basis[i];
  Matrix x = make(300, d, [&](int64_t i, int64_t j) {
    return (i % 2 == 0 ? 1.0 : -1.0) * along[static_cast<size_t>(j)] + size * normal(random);
  });
  return {"small rests", x, 2, basis};
}

// ---- data of which boxes leave out most, and bytes that are exact or rough --------------------

std::vector<float> leading_axes(int64_t rank, int64_t d) {
  std::vector<float> basis(static_cast<size_t>(rank * d));
  for (int64_t r = 0; r < rank; ++r) basis[static_cast<size_t>(r * d + r)] = 1.0f;
  return basis;
}

// Two rows that are sampled now span what bytes hold, so that whole numbers lose nothing.
void span_bytes(Matrix& x) {
  std::fill_n(x.row(0), x.d, 0.0);
  std::fill_n(x.row(10), x.d, 255.0);
}

// On three grids whose rows are shuffled: neighbours tie, and boxes are as far apart as neighbours.
// The grids are far apart in what is cut off, which no row has little of: it costs no precision.
Attack grids(Random& random) {
  std::vector<int64_t> place(3 * 30 * 30);
  std::iota(place.begin(), place.end(), int64_t{0});
  std::shuffle(place.begin(), place.end(), random);
  Matrix x = make(3 * 30 * 30, 5, [&](int64_t i, int64_t j) {
    const int64_t at = place[static_cast<size_t>(i)], cell = at / 3;
    return j == 0 ? cell / 30 * 8 : j == 1 ? cell % 30 * 8 : at % 3 == j - 2 ? 100 : 0;
  });
  x.row(10)[0] = 255.0;
  return {"grids", x, 2, leading_axes(2, x.d), 3};
}

// All rows are as far from each other, and the root of that is rounded down.
Attack corners() {
  return {"corners", make(40, 40, [](int64_t i, int64_t j) { return i == j ? 255.0 : 0.0; }), 3,
          leading_axes(2, 40)};
}

// Clusters of whole numbers.
Attack pixels(Random& random) {
  const int64_t d = 16;
  const Matrix centres = make(60, d, [&](int64_t, int64_t) { return whole(random, 20, 235); });
  Matrix x = make(2550, d, [&](int64_t i, int64_t j) {
    return centres.row(i % centres.n)[j] + whole(random, -9, 9);
  });
  span_bytes(x);
  return {"pixels", x, 5, leading_axes(4, d), 5};
}

// Clusters looked at along some directions, all of which boxes have.
Attack clusters(Random& random) {
  const int64_t d = 10;
  const Matrix centres = make(50, d, [&](int64_t, int64_t) { return 5.0 * normal(random); });
  const Matrix x = make(3000, d, [&](int64_t i, int64_t j) {
    return centres.row(i % centres.n)[j] + normal(random);
  });
  return {"clusters", x, 4, orthonormal(random, 6, d), 15};
}

// A tenth of the rows lie far from all that are sampled: their bytes are the same, they are not.
Attack clipped_rows(Random& random) {
  const int64_t d = 12;
  const Matrix x = make(
      2550, d, [&](int64_t i, int64_t) { return (i % 10 == 5 ? 30.0 : 0.0) + normal(random); });
  return {"clipped rows", x, 4, orthonormal(random, 3, d), 5};
}

// Two groups, of which the smaller has fewer rows than neighbours are wanted, at two fractions of a
// step of the bytes. In float64 nothing comes between bytes and measuring.
Attack fractions_of_bytes(Random& random, double few, double many, bool wide) {
  const int64_t d = 16;
  Matrix x = make(1275, d, [&](int64_t i, int64_t) {
    return 100.0 + (i % 250 == 20 ? few : many) + 0.01 * normal(random);
  });
  span_bytes(x);
  x.wide = wide;
  return {"fractions of bytes", x, 20, std::vector<float>(static_cast<size_t>(d), 0.25f), 10};
}

// Classes that overlap in space, of very different sizes; one has a single row.
Attack classes(Random& random, Relation relation) {
  Attack attack = clusters(random);
  attack.name = "classes";
  for (int64_t i = 0; i < attack.x.n; ++i) attack.codes.push_back(whole(random, 0, 9) > 0 ? 2 : 0);
  attack.codes[15] = 1;
  attack.relation = relation;
  return attack;
}

// The origin's nearest enemies are five rows which images of eight bits round away from it, past
// six hundred that lose nothing. Its friends lie farther, so that all this is nearer than rows
// mostly are. Rows have few coordinates: the medians are zero.
Attack rounded_away(Random& random) {
  const int64_t d = 64, used = 16;
  Attack attack{"rounded away", make(1600, d, [](int64_t, int64_t) { return 0.0; }), 1,
                leading_axes(d, d), 1600};
  std::vector<int64_t> place(static_cast<size_t>(d));
  std::iota(place.begin(), place.end(), int64_t{0});
  for (int64_t i = 0; i < attack.x.n; ++i) {
    const bool enemy = i % 8 >= 5, rounded = i >= 1500 && i % 20 == 7;
    attack.codes.push_back(enemy ? 1 : 0);
    std::shuffle(place.begin(), place.end(), random);
    for (int64_t j = 0; i > 0 && j < used; ++j) {
      const double size = !enemy    ? 1.0 + 0x1p-6
                          : rounded ? 1.0 + 0x1.01p-8
                          : j < 12  ? 1.0 + 0x1p-7
                                    : 1.0;
      attack.x.row(i)[place[static_cast<size_t>(j)]] = whole(random, 0, 1) == 0 ? size : -size;
    }
  }
  attack.relation = Relation::enemy;
  return attack;
}

// Tight clusters along a line, and rows between them that are far from everything.
Attack between_clusters(Random& random) {
  const int64_t d = 6;
  const Matrix x = make(2400, d, [&](int64_t i, int64_t j) {
    const double along = j == 0 ? static_cast<double>(i % 40) : 0.0;
    const bool between = i / 40 % 12 == 5;
    return along + (j == 0 && between ? 0.5 : 0.0) + (between ? 0.1 : 1e-3) * normal(random);
  });
  return {"between clusters", x, 30, leading_axes(2, d)};
}

// Half of the rows are nearly equal, in two classes: the screen cannot tell them apart.
Attack near_copies(Random& random, double noise) {
  Attack attack{
      "near copies",
      make(1500, 64,
           [&](int64_t i, int64_t) { return (i % 2 == 0 ? 1.0 : noise) * normal(random); }),
      4,
      {},
      5};
  for (int64_t i = 0; i < attack.x.n; ++i) attack.codes.push_back(whole(random, 0, 1));
  attack.relation = Relation::enemy;
  return attack;
}

std::vector<Attack> packed_attacks() {
  Random random(1);
  return {sorted_rows(random),
          normal_rows(random),
          ties(random),
          far_clusters(random),
          tiny_beside_one(random),
          tiny_squares(random),
          aligned_roundings(random),
          one_huge_coordinate(random),
          huge_offset(random),
          whole_ties(random),
          far_out(random),
          a_little_far_out(random),
          subnormal_rows(random),
          aligned_roundings_in_line(random),
          aligned_sums(random),
          large_rests(random),
          some_directions(random),
          crooked_basis(random, 1.1),
          crooked_basis(random, 0.7),
          crooked_basis(random, 1.001),
          small_rests(random, 1e-2),
          small_rests(random, 1e-4),
          small_rests(random, 1e-6),
          grids(random),
          corners(),
          pixels(random),
          clusters(random),
          clipped_rows(random),
          fractions_of_bytes(random, 0.45, 0.55, true),
          fractions_of_bytes(random, -0.45, 0.45, false),
          rounded_away(random),
          between_clusters(random),
          near_copies(random, 1e-4),
          near_copies(random, 1e-7),
          ties_in_classes(random, Relation::friendly),
          ties_in_classes(random, Relation::enemy),
          classes(random, Relation::friendly),
          classes(random, Relation::enemy)};
}

}  // namespace
}  // namespace expansive
