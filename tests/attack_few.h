// Data made to attack searches for few queries, which pack nothing, for attacks.cpp.
#pragma once

#include "attack_data.h"

namespace expansive {
namespace {

// Classes whose rows lie in several parts, and ties between parts.
Attack parts(Random& random, Relation relation) {
  const int64_t d = 128;
  Attack attack{"parts",
                make(1100, d, [&](int64_t, int64_t j) { return j < 6 ? whole(random, 0, 2) : 0; }),
                30,
                {},
                300};
  for (int64_t i = 0; i < attack.x.n; ++i) attack.codes.push_back(whole(random, 0, 2));
  attack.relation = relation;
  return attack;
}

// No squared distance is within float32.
Attack beyond_floats(Random& random) {
  return {"beyond floats",
          make(1200, 64, [&](int64_t, int64_t) { return 0x1p90 * normal(random); }),
          5,
          {},
          300};
}

// From the first row, zeros, float32 sums of some rows round up every time; the others are a little
// farther, and what float32 sees of them is less.
Attack leaning_sums(Random& random) {
  const double up = std::sqrt(0x1.001p-24), down = std::sqrt(0x0.fffp-24);
  return {"leaning sums",
          make(400, 4096,
               [&](int64_t i, int64_t j) {
                 if (i == 0) return 0.0;
                 const bool leans = i % 3 == 1;
                 return j < 8   ? (leans ? 1.0 : 1.0 + 0x1p-23 * whole(random, 1, 10))
                        : leans ? up
                                : down;
               }),
          100,
          {},
          400};
}

// Of one feature, whose difference and square float32 rounds up as much as it can. The row that is
// as near and has the smaller number comes in a later part, for it is of a later class.
Attack coarse_difference() {
  double worst = 0.0, ratio = 0.0;
  for (int i = 1; i < 6000; ++i) {
    const float x = 0.5f - static_cast<float>(i) * 0x1p-25f, difference = 1.0f - x,
                square = difference * difference;
    const double exact = 1.0 - static_cast<double>(x);
    if (static_cast<double>(square) / (exact * exact) > ratio) {
      worst = static_cast<double>(x);
      ratio = static_cast<double>(square) / (exact * exact);
    }
  }
  Attack attack{"coarse difference",
                make(40000, 1,
                     [=](int64_t i, int64_t) {
                       return i == 0 ? 1.0 : i == 7 || i == 3001 ? worst : -1.0;
                     }),
                1,
                {},
                40000};
  for (int64_t i = 0; i < attack.x.n; ++i) attack.codes.push_back(i < 3000 ? 1 : 0);
  return attack;
}

// Rows with the same values in other places: as far from the first, a row of zeros, but for the
// order in which squares are added.
Attack shuffled_values(Random& random) {
  std::vector<double> values(1500);
  for (double& value : values) value = static_cast<float>(normal(random));
  Matrix x = make(600, 1500, [&](int64_t, int64_t) { return 0.0; });
  for (int64_t i = 1; i < x.n; ++i) {
    std::shuffle(values.begin(), values.end(), random);
    std::copy(values.begin(), values.end(), x.row(i));
  }
  return {"shuffled values", x, 5, {}, 150};
}

// Squares are six tenths of the least that float32 holds, which make one, or half of it, which make
// nothing: by what float32 sees, rows of those are nearer to the first, a row of zeros, than
// others.
Attack tiny_in_floats(Random& random, int64_t n, int64_t d, int64_t k) {
  const double least = 0x1p-149, up = std::sqrt(0.6 * least), down = std::sqrt(0.49 * least);
  return {"tiny in floats",
          make(n, d,
               [&](int64_t i, int64_t j) {
                 const bool first = j < d / 2;
                 const bool is_there = i > 0 && first == (i % 2 == 0) && whole(random, 0, 1) > 0;
                 return is_there ? (first ? up : down) : 0.0;
               }),
          k,
          {},
          500};
}

std::vector<Attack> attacks_on_few() {
  Random random(2);
  return {parts(random, Relation::friendly),
          parts(random, Relation::enemy),
          parts(random, Relation::any),
          beyond_floats(random),
          leaning_sums(random),
          coarse_difference(),
          shuffled_values(random),
          tiny_in_floats(random, 2001, 16, 570),
          tiny_in_floats(random, 1001, 512, 270)};
}

}  // namespace
}  // namespace expansive
