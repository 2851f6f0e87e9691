// Data made to attack the screen by bytes: what they cannot hold, and what they hardly can.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "attack_data.h"

namespace expansive {
namespace {

// So few rows are far out that the scale is the others': bytes hold none of them.
Attack few_far_out(Random& random) {
  return {"few far out", rows_far_out(random, 100, 0, 100, 3.0, 3), 3, {}, 50};
}

// Rows so few and far that they are drawn in to where half of their coordinates lie about halfway
// between whole numbers, for zeros make the centre zero. Of the first group's neighbours the second
// are nearer than the third, but are rounded to the other side. Others lie on the way to them, so
// that limits become tight early.
Attack rounded_where_drawn(Random& random) {
  constexpr double kDrawnTo = 178.0, kUnit = 0.06, kGroups[] = {0.45, 0.51, 0.37};
  const int64_t d = 16;
  Matrix x = make(2550, d, [&](int64_t i, int64_t) {
    return i % 2 == 0 ? 0.0 : i % 10 == 3 ? 2.3 + 0.01 * normal(random) : normal(random);
  });
  for (int64_t i = 0; i < x.n; i += 100) {
    for (int64_t j = 0; j < d; ++j) {
      const double one = 50.0 + kGroups[i / 100 % 3] + 0.002 * normal(random);
      const double other = std::sqrt(kDrawnTo * kDrawnTo / 4.0 - one * one);
      x.row(i)[j] = static_cast<float>((j < d / 2 ? one : other) * kUnit);
    }
  }
  return {"rounded where drawn", x, 12, {}, 20};
}

// A lane of a row is as long as bytes can be summed over, a neighbour's hardly longer, a third row
// lies near both, and some others, so many that not all of them are measured. Rows that lose
// nothing fix the scale at 1; others are near, but farther. The rest are clusters.
Attack hardly_too_long(Random& random) {
  const int64_t n = 1500, d = 256, at[] = {500, 1490, 700};
  const Matrix centres = make(
      40, d, [&](int64_t, int64_t) { return whole(random, 0, 9) == 0 ? whole(random, -3, 3) : 0; });
  Matrix x = make(n, d, [&](int64_t i, int64_t j) {
    return centres.row(i % centres.n)[j] + (whole(random, 0, 99) == 0 ? 1.0 : 0.0);
  });
  std::vector<int64_t> lane;
  for (int64_t j = 0; j < 64; j += j % 2 == 0 ? 1 : 3) lane.push_back(j);
  const auto fill = [&](int64_t i, double first_nine, int64_t others, int64_t threes) {
    std::fill_n(x.row(i), d, 0.0);
    for (int64_t at = 0; at < 32; ++at) {
      x.row(i)[lane[static_cast<size_t>(at)]] = at < 9                                 ? first_nine
                                                : at >= others && at < others + threes ? 3.0
                                                                                       : 4.0;
    }
  };
  for (int64_t i = 3; i < n; i += 20) {
    std::fill_n(x.row(i), d, 0.0);
    std::shuffle(lane.begin(), lane.end(), random);
    for (size_t j = 0; j < 4; ++j) {
      x.row(i)[lane[j]] = (whole(random, 0, 1) == 0 ? 1.0 : -1.0) * (j > 0 ? 89.0 : 83.0);
    }
  }
  std::sort(lane.begin(), lane.end());
  for (int64_t i = 4; i < n; i += 8) {
    fill(i, 58.0, 20, 6);
    for (int times = 0; times < 3; ++times) x.row(i)[64 + whole(random, 0, 63)] += 1.0;
  }
  for (int64_t i = 12; i < n; i += 60) {
    fill(i, 60.0, 31, 1);
    for (int times = 0; times < 4; ++times) {
      x.row(i)[lane[static_cast<size_t>(whole(random, 9, 30))]] = 3.0;
    }
  }
  fill(at[0], 60.0, 31, 1);
  fill(at[1], 60.0, 32, 0);
  fill(at[2], 60.0, 29, 3);
  return {"hardly too long", x, 1, {}, 10};
}

// Corners of a cube, the longest rows that bytes can be summed over, ever so often opposite.
Attack cube_corners(Random& random) {
  const int64_t d = 64;
  Matrix x = make(800, d, [&](int64_t, int64_t) { return whole(random, 0, 1) == 0 ? 1.0 : -1.0; });
  for (int64_t i = 1; i < x.n; i += 2) {
    for (int64_t j = 0; j < d; ++j) x.row(i)[j] = -x.row(i - 1)[j] * (j % 9 == i % 9 ? -1.0 : 1.0);
  }
  return {"cube corners", x, 5, {}, 10};
}

// ---- rows farther from each other than from the centre -------------------------------------

// Of whole numbers, which lose nothing by a scale of 1: that is what a 127 in most rows is for.
// In most rows a coordinate is zero, and so is the centre. Queries, the rows that `every` divides,
// have no friend but each other, and search enemies.
struct Sparse {
  static constexpr int64_t d = 192, used = 64, every = 300;

  Matrix x;
  std::vector<int64_t> codes;
  std::vector<int64_t> place;  // a random order of the coordinates
  std::vector<double> sign;

  Sparse(Random& random, int64_t n) : x(make(n, d, [](int64_t, int64_t) { return 0.0; })) {
    place.resize(d);
    std::iota(place.begin(), place.end(), int64_t{0});
    for (int64_t i = 0; i < n; ++i) {
      codes.push_back(i % every == 0 ? 0 : 1);
      shuffle(random);
      for (int64_t j = 0; j < used; ++j) at(i, j) = 40.0 * sign[static_cast<size_t>(j)];
      at(i, 0) = 127.0;
    }
  }
  void shuffle(Random& random) {
    std::shuffle(place.begin(), place.end(), random);
    sign.clear();
    for (int64_t j = 0; j < d; ++j) sign.push_back(whole(random, 0, 1) == 0 ? 1.0 : -1.0);
  }
  double& at(int64_t i, int64_t j) { return x.row(i)[place[static_cast<size_t>(j)]]; }
  // size(j) times the signs, in the order of this moment.
  template <typename Size>
  void fill(int64_t i, const Size& size) {
    for (int64_t j = 0; j < d; ++j) {
      at(i, j) = static_cast<float>(size(j) * sign[static_cast<size_t>(j)]);
    }
  }
  Attack attack(const char* name, int64_t k) const {
    return {name, x, k, {}, every, codes, Relation::enemy};
  }
};

constexpr int64_t kFillers = 70;  // so many that not all are measured

// The nearest row seems farther than others, because what is lost by rounding the short one of a
// pair is all along the other: short queries and long rows, or the other way round.
Attack roundings_along(Random& random, bool of_queries) {
  constexpr int64_t kWhole = 8, kRounded = 64, kFlipped = 3;
  Sparse rows(random, 1500);
  for (int64_t query = 0; query < rows.x.n; query += Sparse::every) {
    rows.shuffle(random);
    const auto is_used = [](int64_t j) { return j < kWhole + kRounded; };
    const auto small = [&](int64_t j) { return !is_used(j) ? 0.0 : j < kWhole ? 10.0 : 0.49; };
    const auto large = [&](int64_t j) { return is_used(j) ? 37.0 : 0.0; };
    const auto size = [&](int64_t j) { return of_queries ? large(j) : small(j); };
    rows.fill(query, [&](int64_t j) { return of_queries ? small(j) : large(j); });
    rows.fill(query + 150, [&](int64_t j) { return j < kFlipped ? -size(j) : size(j); });
    for (int64_t filler = 1; filler <= kFillers; ++filler) {
      rows.fill(query + filler, [&](int64_t j) {
        return j < kWhole                       ? size(j)
               : is_used(j)                     ? -size(j)
               : j == Sparse::used + 8 + filler ? 2.0
                                                : 0.0;
      });
    }
  }
  return rows.attack("roundings along", 1);
}

// The centre's nearest rows are rounded away from it.
Attack rounded_up(Random& random) {
  Sparse rows(random, 1500);
  for (int64_t i = 0; i < rows.x.n; ++i) {
    rows.shuffle(random);
    if (i % Sparse::every == 0) {
      rows.fill(i, [](int64_t) { return 0.0; });
    } else {
      rows.fill(i, [&](int64_t j) {
        return j >= Sparse::used ? 0.0 : i % 500 == 250 ? 126.51 : j < 30 ? 126.0 : 127.0;
      });
    }
  }
  return rows.attack("rounded up", 3);
}

// Long queries are rounded up; of short rows the centre is the nearest, and seems not to be.
Attack long_queries_rounded_up(Random& random) {
  Sparse rows(random, 1500);
  rows.fill(700, [](int64_t) { return 0.0; });
  rows.shuffle(random);
  for (int64_t query = 0; query < rows.x.n; query += Sparse::every) {
    rows.fill(query, [](int64_t j) { return j < Sparse::used ? 40.0 : 0.0; });
    for (int64_t filler = 1; filler <= kFillers; ++filler) {
      const int64_t first = whole(random, 0, 40);
      rows.fill(query + filler, [&](int64_t j) {
        return j == 62 ? 28.0 : j == 63 ? -28.0 : j >= first && j < first + 20 ? 1.0 : 0.0;
      });
    }
  }
  Attack attack = rows.attack("long queries rounded up", 1);
  attack.stretch = 39.51 / 40.0;  // the rows themselves lose nothing
  return attack;
}

// Queries and their nearest rows lie where they are drawn in; others seem nearer.
Attack drawn_in_together(Random& random) {
  Sparse rows(random, 1500);
  for (int64_t query = 0; query < rows.x.n; query += Sparse::every) {
    rows.shuffle(random);
    rows.fill(query, [](int64_t j) { return j == 0 ? 200.0 : 0.0; });
    rows.fill(query + 150, [](int64_t j) { return j == 0 ? 200.0 : j < 5 ? 31.0 : 0.0; });
    for (int64_t filler = 1; filler <= kFillers; ++filler) {
      const int64_t other = whole(random, 1, 100);
      rows.fill(query + filler, [&](int64_t j) { return j == 0 ? 127.0 : j == other ? 5.0 : 0.0; });
    }
  }
  return rows.attack("drawn in together", 1);
}

std::vector<Attack> attacks_on_bytes() {
  Random random(3);
  return {few_far_out(random),  rounded_where_drawn(random),     hardly_too_long(random),
          cube_corners(random), roundings_along(random, true),   roundings_along(random, false),
          rounded_up(random),   long_queries_rounded_up(random), drawn_in_together(random)};
}

}  // namespace
}  // namespace expansive
