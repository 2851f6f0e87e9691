// The operands of the screen by bytes: whole numbers of 8 bits, four to a word.
//
// sdot makes the four products of two words and adds them to what was there, in 32 bits, of numbers
// with a sign: nothing is shifted, and runs start at nothing.
#pragma once

#include "cpu/columns_neon.h"

namespace expansive {
namespace {

constexpr Elements kBytes = kOneSignedRun;

struct RunSum {
  int32x4_t lanes;
};

inline RunSum start_run(Column, Sum sum) { return {sum.lanes}; }
inline RunSum multiply_add(uint32_t query, Column column, RunSum sum) {
  const int8x16_t quad = vreinterpretq_s8_u32(vdupq_n_u32(query));
  return {vdotq_s32(sum.lanes, vreinterpretq_s8_u32(column), quad)};
}
inline Sum end_run(RunSum run, Sum) { return {run.lanes}; }

inline Double8 store_byte_image(uint32_t* image, Double8 v) {
  const int32x4_t low = whole4(v.lane, -128.0, 128.0), high = whole4(v.lane + 4, -128.0, 128.0);
  const int16x8_t both = vcombine_s16(vmovn_s32(low), vmovn_s32(high));
  vst1_s8(reinterpret_cast<int8_t*>(image), vmovn_s16(both));
  return as_doubles(low, high);
}

inline uint32_t start_word(const uint32_t*, int64_t, bool&) { return 0; }

}  // namespace
}  // namespace expansive
