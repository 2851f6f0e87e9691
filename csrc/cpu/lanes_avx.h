// What AVX2 and AVX-512 share: eight float32 in one 256-bit register, 16-bit floats by F16C.
#pragma once

#include <immintrin.h>

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
inline Float8 lerp(Float8 base, Float8 partner, float weight) {
  return _mm256_fmadd_ps(_mm256_set1_ps(weight), _mm256_sub_ps(partner, base), base);
}
inline __m256 narrow(const float*, Float8 v) { return v; }
inline __m128i narrow(const Half*, Float8 v) {
  return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline __m128i narrow(const BFloat16*, Float8 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
  return _mm256_castsi256_si128(
      _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08));
}

// The last steps of a fold: quarters, then the pair.
inline double fold4(__m256d halves) {
  const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(halves), _mm256_extractf128_pd(halves, 1));
  return _mm_cvtsd_f64(pair) + _mm_cvtsd_f64(_mm_unpackhi_pd(pair, pair));
}

inline void store(void* p, __m256 v) { _mm256_storeu_ps(static_cast<float*>(p), v); }
inline void store(void* p, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
inline void stream(void* p, __m256 v) { _mm256_stream_ps(static_cast<float*>(p), v); }
inline void stream(void* p, __m128i v) { _mm_stream_si128(static_cast<__m128i*>(p), v); }
inline void fence_streams() { _mm_sfence(); }

template <typename T>
inline void store8f(T* p, Float8 v) {
  store(p, narrow(p, v));
}
template <typename T>
inline void stream8f(T* p, Float8 v) {
  stream(p, narrow(p, v));
}
inline void store8f(double* p, Float8 v) {
  _mm256_storeu_pd(p, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
  _mm256_storeu_pd(p + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
}
inline void stream8f(double* p, Float8 v) { store8f(p, v); }

}  // namespace
}  // namespace expansive
