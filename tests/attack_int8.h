// Data made to attack the screen by bytes: what they cannot hold, and what they hardly can.
#pragma once

#include <algorithm>
#include <cmath>
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
// nothing fix the scale at 1; others are near, but farther.
Attack hardly_too_long(Random& random) {
  const int64_t n = 1500, d = 256, at[] = {500, 1490, 700};
  Matrix x = make(
      n, d, [&](int64_t, int64_t) { return whole(random, 0, 9) == 0 ? whole(random, -3, 3) : 0; });
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
    for (size_t j = 0; j < 4; ++j) x.row(i)[lane[j]] = whole(random, 0, 1) == 0 ? 89.0 : -89.0;
  }
  std::sort(lane.begin(), lane.end());
  for (int64_t i = 4; i < n; i += 8) {
    fill(i, 59.0, 20, 6);
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

std::vector<Attack> attacks_on_bytes() {
  Random random(3);
  return {few_far_out(random), rounded_where_drawn(random), hardly_too_long(random),
          cube_corners(random)};
}

}  // namespace
}  // namespace expansive
