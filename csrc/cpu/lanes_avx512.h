// Lanes in AVX-512 (F, BW, DQ, VL); the screen's columns and sums are apart: columns_avx512*.h.
#pragma once

#include "cpu/lanes_avx.h"

namespace expansive {
namespace {

using Double8 = __m512d;

template <typename T>
inline Double8 load8(const T* p) {
  return _mm512_cvtps_pd(load8f(p));
}
inline Double8 load8(const double* p) { return _mm512_loadu_pd(p); }
inline Double8 splat8(double v) { return _mm512_set1_pd(v); }
inline Double8 sub(Double8 a, Double8 b) { return _mm512_sub_pd(a, b); }
inline Double8 mul(Double8 a, Double8 b) { return _mm512_mul_pd(a, b); }
inline Double8 fma(Double8 a, Double8 b, Double8 c) { return _mm512_fmadd_pd(a, b, c); }
// What is outside goes to the nearest of -most and most.
inline Double8 within8(Double8 v, double most) {
  return _mm512_min_pd(_mm512_max_pd(v, _mm512_set1_pd(-most)), _mm512_set1_pd(most));
}
inline void store8(double* p, Double8 v) { _mm512_storeu_pd(p, v); }

inline double fold(Double8 sums) {
  return fold4(_mm256_add_pd(_mm512_castpd512_pd256(sums), _mm512_extractf64x4_pd(sums, 1)));
}
// Whole numbers from `least` to `most`; what is outside goes to the nearest.
inline __m256i whole8(__m512d v, double least, double most) {
  return _mm512_cvtpd_epi32(
      _mm512_min_pd(_mm512_max_pd(v, _mm512_set1_pd(least)), _mm512_set1_pd(most)));
}
inline Double8 store8_bytes(uint8_t* p, Double8 v) {
  const __m256i whole = whole8(v, 0.0, 255.0);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_cvtepi32_epi8(whole));
  return _mm512_cvtepi32_pd(whole);
}

struct Vector {
  static constexpr int kWidth = 16;
  __m512 lanes;
};

inline Vector zero_vector() { return {_mm512_setzero_ps()}; }
inline Vector load_vector(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store_vector(float* p, Vector v) { _mm512_storeu_ps(p, v.lanes); }
inline Vector larger(Vector a, Vector b) { return {_mm512_max_ps(a.lanes, b.lanes)}; }
inline Vector smaller(Vector a, Vector b) { return {_mm512_min_ps(a.lanes, b.lanes)}; }
inline Vector minus(Vector v, float threshold) {
  return {_mm512_sub_ps(v.lanes, _mm512_set1_ps(threshold))};
}
inline Vector subtract(Vector a, Vector b) { return {_mm512_sub_ps(a.lanes, b.lanes)}; }
inline Vector add_square(Vector v, Vector sum) {
  return {_mm512_fmadd_ps(v.lanes, v.lanes, sum.lanes)};
}
inline Vector outside(Vector v, float low, float high) {
  const __m512 inside =
      _mm512_min_ps(_mm512_max_ps(v.lanes, _mm512_set1_ps(low)), _mm512_set1_ps(high));
  return {_mm512_sub_ps(v.lanes, inside)};
}
inline bool any_not_negative(Vector v) {
  return _mm512_cmp_ps_mask(v.lanes, _mm512_setzero_ps(), _CMP_GE_OQ) != 0;
}
inline uint32_t lanes_at_least(Vector v, float threshold) {
  return _mm512_cmp_ps_mask(v.lanes, _mm512_set1_ps(threshold), _CMP_GE_OQ);
}

// Numbers of columns.
struct Numbers {
  __m512i lanes;
};

inline Numbers load_numbers(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
inline Numbers numbers_from(uint32_t first) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(first)))};
}
// Which are in [begin, end).
inline uint32_t lanes_within(Numbers v, uint32_t begin, uint32_t end) {
  const __m512i past_begin = _mm512_sub_epi32(v.lanes, _mm512_set1_epi32(static_cast<int>(begin)));
  return _mm512_cmplt_epu32_mask(past_begin, _mm512_set1_epi32(static_cast<int>(end - begin)));
}
inline int64_t append_lanes(Vector v, Numbers numbers, uint32_t mask, float* values,
                            uint32_t* columns) {
  const __mmask16 chosen = static_cast<__mmask16>(mask);
  _mm512_storeu_ps(values, _mm512_maskz_compress_ps(chosen, v.lanes));
  _mm512_storeu_si512(columns, _mm512_maskz_compress_epi32(chosen, numbers.lanes));
  return __builtin_popcount(mask);
}

// Random words, each in the low half of 64 bits: products are all of those.
struct WordLanes {
  static constexpr int kWidth = 8;
  __m512i lanes;
};

inline WordLanes load_words(const int64_t* p) { return {_mm512_loadu_si512(p)}; }
inline WordLanes splat_words(uint32_t word) { return {_mm512_set1_epi64(word)}; }
inline WordLanes multiply_words(WordLanes a, WordLanes b) {
  return {_mm512_mul_epu32(a.lanes, b.lanes)};
}
inline WordLanes high_words(WordLanes v) { return {_mm512_srli_epi64(v.lanes, 32)}; }
inline WordLanes exclusive_or(WordLanes a, WordLanes b) {
  return {_mm512_xor_si512(a.lanes, b.lanes)};
}
inline void store_words(uint32_t* p, WordLanes v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi64_epi32(v.lanes));
}

// Sixteen float32, a cache line: interpolation and estimates.
using Floats = __m512;
constexpr int64_t kFloats = 16;

inline Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
inline Floats load_floats(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Floats load_floats(const BFloat16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Floats lerp(Floats base, Floats partner, float weight) {
  return _mm512_fmadd_ps(_mm512_set1_ps(weight), _mm512_sub_ps(partner, base), base);
}
inline Floats zero_floats() { return _mm512_setzero_ps(); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats add_squared_difference(Floats a, Floats b, Floats sum) {
  const Floats difference = _mm512_sub_ps(a, b);
  return _mm512_fmadd_ps(difference, difference, sum);
}
inline float sum_of(Floats v) {
  return sum_of(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}
inline __m512 narrow(const float*, Floats v) { return v; }
inline __m256i narrow(const Half*, Floats v) {
  return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline __m256i narrow(const BFloat16*, Floats v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_add_epi32(bits, half), 16));
}
inline void store(void* p, __m512 v) { _mm512_storeu_ps(p, v); }
inline void store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline void stream(void* p, __m512 v) { _mm512_stream_ps(static_cast<float*>(p), v); }
inline void stream(void* p, __m256i v) { _mm256_stream_si256(static_cast<__m256i*>(p), v); }
template <bool kStream, typename T>
inline void store_floats(T* p, Floats v) {
  if (kStream) {
    stream(p, narrow(p, v));
  } else {
    store(p, narrow(p, v));
  }
}
template <bool>  // float64 is never streamed
inline void store_floats(double* p, Floats v) {
  _mm512_storeu_pd(p, _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
  _mm512_storeu_pd(p + 8, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
}

}  // namespace
}  // namespace expansive

// It is written in what stands above.
#include "cpu/lists_avx.h"
