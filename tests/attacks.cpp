// Searches data made to attack the screen's bounds, and compares every result with direct sums.
//
// attacks MUTANT: exit status 0 if all neighbours are right, 1 (and what was attacked) if not.
// Compiled with the kernels, in which tests/test_mutations.py has put mutations of the bounds: each
// acts where `expansive_mutant` is its number.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "expansive/neighbors.h"

int expansive_mutant = 0;

namespace expansive {

extern const Kernels kernels_generic;
extern const Kernels kernels_coarse;  // the same with images rounded to eight bits

namespace {

const Kernels* chosen = &kernels_generic;

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
  std::vector<float> basis = {};  // [rank][d]
};

double normal(Random& random) { return std::normal_distribution<double>()(random); }
int whole(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// Ties by the thousand.
Attack ties(Random& random) {
  return {"ties", make(1200, 3, [&](int64_t, int64_t) { return whole(random, -1, 1); }), 5};
}

Attack normal_rows(Random& random) {
  return {"normal rows", make(700, 12, [&](int64_t, int64_t) { return normal(random); }), 5};
}

// What is near comes early: the rows seen so far promise more than there are.
Attack sorted_rows(Random& random) {
  return {"sorted rows",
          make(3000, 3, [&](int64_t i, int64_t j) { return j == 0 ? i : normal(random); }), 50};
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
          std::vector<float>(static_cast<size_t>(d), 0x1p-4f)};
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

std::vector<Attack> attacks() {
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
          small_rests(random, 1e-6)};
}

// ---- comparison -----------------------------------------------------------------------------

double contract_distance(const double* a, const double* b, int64_t d) {
  double s[8] = {};
  for (int64_t j = 0; j < d; ++j) {
    const double t = a[j] - b[j];
    s[j % 8] = std::fma(t, t, s[j % 8]);
  }
  for (int i = 0; i < 4; ++i) s[i] += s[i + 4];
  for (int i = 0; i < 2; ++i) s[i] += s[i + 2];
  return s[0] + s[1];
}

bool is_found(const Attack& attack) {
  const Matrix& x = attack.x;
  const std::vector<float> narrow(x.values.begin(), x.values.end());
  const Rows rows{x.wide ? static_cast<const void*>(x.values.data()) : narrow.data(), x.n, x.d,
                  x.wide ? DType::float64 : DType::float32};
  std::vector<int64_t> own(static_cast<size_t>(x.n));
  for (int64_t i = 0; i < x.n; ++i) own[static_cast<size_t>(i)] = i;
  std::vector<double> distance(static_cast<size_t>(x.n * attack.k));
  std::vector<int64_t> index(distance.size());
  const int64_t rank = static_cast<int64_t>(attack.basis.size()) / x.d;
  Interrupt interrupt;
  double largest = 0.0;
  for (const double v : x.values) largest = std::max(largest, std::abs(v));
  const NeighborIndex built(rows, largest, nullptr, 0, Metric::sqeuclidean,
                            Basis{attack.basis.data(), rank}, Resources{}, interrupt);
  built.search({rows, nullptr, own.data()}, attack.k, Relation::any, Resources{}, interrupt,
               {distance.data(), index.data(), true});
  std::vector<std::pair<double, int64_t>> all;
  for (int64_t i = 0; i < x.n; ++i) {
    all.clear();
    for (int64_t j = 0; j < x.n; ++j) {
      if (j != i) all.emplace_back(contract_distance(x.row(i), x.row(j), x.d), j);
    }
    std::partial_sort(all.begin(), all.begin() + attack.k, all.end());
    for (int64_t r = 0; r < attack.k; ++r) {
      const size_t at = static_cast<size_t>(i * attack.k + r);
      if (index[at] != all[static_cast<size_t>(r)].second) return false;
      if (distance[at] != all[static_cast<size_t>(r)].first) return false;
    }
  }
  return true;
}

}  // namespace

// In place of the choice by processor.
const Kernels& kernels() { return *chosen; }

}  // namespace expansive

int main(int argc, char** argv) {
  using namespace expansive;
  if (argc > 1) expansive_mutant = std::atoi(argv[1]);
  int failures = 0;
  for (const Kernels* table : {&kernels_coarse, &kernels_generic}) {
    chosen = table;
    for (const Attack& attack : attacks()) {
      if (is_found(attack)) continue;
      std::printf("%s: %s\n", table->name, attack.name);
      ++failures;
      if (argc < 3) return 1;
    }
  }
  return failures > 0 ? 1 : 0;
}
