// The random words of many synthetic rows: Philox (philox.h) in lanes, one for each row.
//
// A lane has 64 bits, which is what a product of two words has. Only its low half is a word; what
// the high half holds between rounds is whatever the last product left, and nobody reads it.
#pragma once

#include "cpu/isa.h"
#include "expansive/philox.h"

namespace expansive {
namespace {

struct LaneKeys {
  WordLanes even, odd;
};

// Of rows whose words go to column `at` onwards. Several vectors at once: a round waits for its
// products.
template <int kVectors>
inline void draw_some(const DrawTask& task, const LaneKeys* keys, int64_t at) {
  const WordLanes multiplier0 = splat_words(kPhiloxMultiplier0);
  const WordLanes multiplier1 = splat_words(kPhiloxMultiplier1);
  WordLanes word[4][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    word[0][v] = load_words(task.rows + at + v * WordLanes::kWidth);
    word[1][v] = high_words(word[0][v]);
    word[2][v] = word[3][v] = splat_words(0);
  }
  for (int round = 0; round < kPhiloxRounds; ++round) {
    for (int v = 0; v < kVectors; ++v) {
      const WordLanes product0 = multiply_words(multiplier0, word[0][v]);
      const WordLanes product1 = multiply_words(multiplier1, word[2][v]);
      word[0][v] = exclusive_or(exclusive_or(high_words(product1), word[1][v]), keys[round].even);
      word[1][v] = product1;
      word[2][v] = exclusive_or(exclusive_or(high_words(product0), word[3][v]), keys[round].odd);
      word[3][v] = product0;
    }
  }
  for (int i = 0; i < 3; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      store_words(task.words[i] + at + v * WordLanes::kWidth, word[i][v]);
    }
  }
}

inline void draw_words(const DrawTask& task) {
  constexpr int kVectors = 2;
  LaneKeys keys[kPhiloxRounds];
  PhiloxKey key = philox_key(task.seed);
  for (LaneKeys& round : keys) {
    round = {splat_words(key.word[0]), splat_words(key.word[1])};
    key = next_philox_key(key);
  }
  int64_t i = 0;
  for (; i + kVectors * WordLanes::kWidth <= task.count; i += kVectors * WordLanes::kWidth) {
    draw_some<kVectors>(task, keys, i);
  }
  for (; i < task.count; ++i) {
    const Philox4 random = philox_of_row(static_cast<uint64_t>(task.rows[i]), task.seed);
    for (int j = 0; j < 3; ++j) task.words[j][i] = random.word[j];
  }
}

}  // namespace
}  // namespace expansive
