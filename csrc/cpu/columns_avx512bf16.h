// The screen's operands in bfloat16, two to a word: twice the products of float32 in a cycle.
//
// vdpbf16ps adds the two products of a pair to a float32 sum; products of bfloat16 are exact in
// float32, so a pair costs at most two roundings. It treats subnormal operands and results as zero:
// images are flushed when they are stored, and results lose at most 2^-126 each.
#pragma once

#include "cpu/sums_avx512.h"

namespace expansive {
namespace {

constexpr Elements kElements = {2, false, kFloatRadius, 1.0, 0x1p-124};

using Column = __m512i;

inline Double8 store_image(uint32_t* image, Double8 v) {
  const __m128bh rounded = _mm256_cvtneps_pbh(_mm512_cvtpd_ps(v));
  const __m128i bits = reinterpret_cast<const __m128i&>(rounded);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(image), bits);
  return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)));
}
inline Column load_column(const uint32_t* p) { return _mm512_loadu_si512(p); }
inline Sum multiply_add(uint32_t query, Column column, Sum sum) {
  const __m512i pair = _mm512_set1_epi32(static_cast<int>(query));
  return {_mm512_dpbf16_ps(sum.lanes, reinterpret_cast<const __m512bh&>(pair),
                           reinterpret_cast<const __m512bh&>(column))};
}

}  // namespace
}  // namespace expansive
