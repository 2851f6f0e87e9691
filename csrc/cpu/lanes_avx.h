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

inline void fence_streams() { _mm_sfence(); }

}  // namespace
}  // namespace expansive
