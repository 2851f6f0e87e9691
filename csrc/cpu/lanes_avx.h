// What AVX2 and AVX-512 share: eight float32 in one 256-bit register, 16-bit floats by F16C.
#pragma once

#include <immintrin.h>

#include "cpu/elements.h"
#include "cpu/half.h"

namespace expansive {
namespace {

using Float8 = __m256;

inline Float8 load8f(const float* p) { return _mm256_loadu_ps(p); }
inline Float8 load8f(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Float8 load8f(const BFloat16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
// The last steps of a fold: quarters, then the pair.
inline double fold4(__m256d halves) {
  const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(halves), _mm256_extractf128_pd(halves, 1));
  return _mm_cvtsd_f64(pair) + _mm_cvtsd_f64(_mm_unpackhi_pd(pair, pair));
}

// In any order.
inline float sum_of(Float8 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline void fence_streams() { _mm_sfence(); }

}  // namespace
}  // namespace expansive
