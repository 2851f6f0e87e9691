// The random words of many synthetic rows: the compiler vectorises over rows.
#pragma once

#include "cpu/isa.h"
#include "expansive/philox.h"

namespace expansive {
namespace {

inline void draw_words(const DrawTask& task) {
  uint32_t *word0 = task.words[0], *word1 = task.words[1], *word2 = task.words[2];
  for (int64_t i = 0; i < task.count; ++i) {
    const Philox4 random = philox_of_row(static_cast<uint64_t>(task.rows[i]), task.seed);
    word0[i] = random.word[0];
    word1[i] = random.word[1];
    word2[i] = random.word[2];
  }
}

}  // namespace
}  // namespace expansive
