// The screen's sums in float32: of float32 and of bfloat16 operands.
#pragma once

#include "cpu/lanes_avx512.h"

namespace expansive {
namespace {

using Sum = Vector;

inline Sum zero_sum() { return zero_vector(); }
inline Sum start_sum(Vector values) { return values; }
inline Vector values_of(Sum sum) { return sum; }
using Bound = float;
inline Bound bound_of(float threshold) { return threshold; }
inline uint32_t lanes_reaching(Sum sum, Bound bound) { return lanes_at_least(sum, bound); }
inline uint32_t either(uint32_t a, uint32_t b) { return a | b; }
inline bool any_lane(uint32_t lanes) { return lanes != 0; }
inline void add_to_doubles(Sum sum, double* sums) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(sum.lanes));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(sum.lanes, 1));
  _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), low));
  _mm512_storeu_pd(sums + 8, _mm512_add_pd(_mm512_loadu_pd(sums + 8), high));
}

}  // namespace
}  // namespace expansive
