// Lanes in AVX2 with FMA and F16C; the screen's columns are apart: columns_avx2.h.
#pragma once

#include "cpu/lanes_avx.h"

namespace expansive {
namespace {

struct Double8 {
  __m256d low, high;
};

inline Double8 widen8(__m256 v) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(v)), _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}
template <typename T>
inline Double8 load8(const T* p) {
  return widen8(load8f(p));
}
inline Double8 load8(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
inline Double8 splat8(double v) { return {_mm256_set1_pd(v), _mm256_set1_pd(v)}; }
inline Double8 sub(Double8 a, Double8 b) {
  return {_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)};
}
inline Double8 mul(Double8 a, Double8 b) {
  return {_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)};
}
inline Double8 fma(Double8 a, Double8 b, Double8 c) {
  return {_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
}
// What is outside goes to the nearest of -most and most.
inline Double8 within8(Double8 v, double most) {
  const __m256d low = _mm256_set1_pd(-most), high = _mm256_set1_pd(most);
  return {_mm256_min_pd(_mm256_max_pd(v.low, low), high),
          _mm256_min_pd(_mm256_max_pd(v.high, low), high)};
}
inline void store8(double* p, Double8 v) {
  _mm256_storeu_pd(p, v.low);
  _mm256_storeu_pd(p + 4, v.high);
}
inline double fold(Double8 sums) { return fold4(_mm256_add_pd(sums.low, sums.high)); }
// Whole numbers from `least` to `most`; what is outside goes to the nearest.
inline __m128i whole4(__m256d v, double least, double most) {
  return _mm256_cvtpd_epi32(
      _mm256_min_pd(_mm256_max_pd(v, _mm256_set1_pd(least)), _mm256_set1_pd(most)));
}
inline Double8 store8_bytes(uint8_t* p, Double8 v) {
  const __m128i low = whole4(v.low, 0.0, 255.0), high = whole4(v.high, 0.0, 255.0);
  const __m128i words = _mm_packus_epi32(low, high);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  return {_mm256_cvtepi32_pd(low), _mm256_cvtepi32_pd(high)};
}

struct Vector {
  static constexpr int kWidth = 8;
  __m256 lanes;
};

inline Vector zero_vector() { return {_mm256_setzero_ps()}; }
inline Vector load_vector(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store_vector(float* p, Vector v) { _mm256_storeu_ps(p, v.lanes); }
inline Vector larger(Vector a, Vector b) { return {_mm256_max_ps(a.lanes, b.lanes)}; }
inline Vector smaller(Vector a, Vector b) { return {_mm256_min_ps(a.lanes, b.lanes)}; }
inline Vector minus(Vector v, float threshold) {
  return {_mm256_sub_ps(v.lanes, _mm256_set1_ps(threshold))};
}
inline Vector subtract(Vector a, Vector b) { return {_mm256_sub_ps(a.lanes, b.lanes)}; }
inline Vector add_square(Vector v, Vector sum) {
  return {_mm256_fmadd_ps(v.lanes, v.lanes, sum.lanes)};
}
inline Vector outside(Vector v, float low, float high) {
  const __m256 inside =
      _mm256_min_ps(_mm256_max_ps(v.lanes, _mm256_set1_ps(low)), _mm256_set1_ps(high));
  return {_mm256_sub_ps(v.lanes, inside)};
}
inline bool any_not_negative(Vector v) {
  return _mm256_movemask_ps(_mm256_cmp_ps(v.lanes, _mm256_setzero_ps(), _CMP_GE_OQ)) != 0;
}
inline uint32_t lanes_at_least(Vector v, float threshold) {
  const __m256 reached = _mm256_cmp_ps(v.lanes, _mm256_set1_ps(threshold), _CMP_GE_OQ);
  return static_cast<uint32_t>(_mm256_movemask_ps(reached));
}

// Numbers of columns.
struct Numbers {
  __m256i lanes;
};

inline Numbers load_numbers(const uint32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline Numbers numbers_from(uint32_t first) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_add_epi32(lane, _mm256_set1_epi32(static_cast<int>(first)))};
}
// Which are in [begin, end).
inline uint32_t lanes_within(Numbers v, uint32_t begin, uint32_t end) {
  const __m256i past_begin = _mm256_sub_epi32(v.lanes, _mm256_set1_epi32(static_cast<int>(begin)));
  const __m256i length = _mm256_set1_epi32(static_cast<int>(end - begin));
  const __m256i without = _mm256_cmpeq_epi32(_mm256_max_epu32(past_begin, length), past_begin);
  return ~static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(without))) & 0xFFu;
}

// For every mask, the lanes that it names, one after the other, a byte each.
struct LaneOrders {
  uint64_t of[256];
  constexpr LaneOrders() : of{} {
    for (uint32_t mask = 0; mask < 256; ++mask) {
      int at = 0;
      for (uint64_t lane = 0; lane < 8; ++lane) {
        if ((mask >> lane & 1u) != 0) of[mask] |= lane << (8 * at++);
      }
    }
  }
};
constexpr LaneOrders kLaneOrders;

inline int64_t append_lanes(Vector v, Numbers numbers, uint32_t mask, float* values,
                            uint32_t* columns) {
  const __m256i order =
      _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(kLaneOrders.of[mask])));
  _mm256_storeu_ps(values, _mm256_permutevar8x32_ps(v.lanes, order));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(columns),
                      _mm256_permutevar8x32_epi32(numbers.lanes, order));
  return __builtin_popcount(mask);
}

// Random words, each in the low half of 64 bits: products are all of those.
struct WordLanes {
  static constexpr int kWidth = 4;
  __m256i lanes;
};

inline WordLanes load_words(const int64_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline WordLanes splat_words(uint32_t word) { return {_mm256_set1_epi64x(word)}; }
inline WordLanes multiply_words(WordLanes a, WordLanes b) {
  return {_mm256_mul_epu32(a.lanes, b.lanes)};
}
inline WordLanes high_words(WordLanes v) { return {_mm256_srli_epi64(v.lanes, 32)}; }
inline WordLanes exclusive_or(WordLanes a, WordLanes b) {
  return {_mm256_xor_si256(a.lanes, b.lanes)};
}
inline void store_words(uint32_t* p, WordLanes v) {
  const __m256i low = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(v.lanes, low)));
}

// Eight float32: interpolation and estimates.
using Floats = __m256;
constexpr int64_t kFloats = 8;

template <typename T>
inline Floats load_floats(const T* p) {
  return load8f(p);
}
inline Floats lerp(Floats base, Floats partner, float weight) {
  return _mm256_fmadd_ps(_mm256_set1_ps(weight), _mm256_sub_ps(partner, base), base);
}
inline Floats zero_floats() { return _mm256_setzero_ps(); }
inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
inline Floats add_squared_difference(Floats a, Floats b, Floats sum) {
  const Floats difference = _mm256_sub_ps(a, b);
  return _mm256_fmadd_ps(difference, difference, sum);
}
inline __m256 narrow(const float*, Floats v) { return v; }
inline __m128i narrow(const Half*, Floats v) {
  return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline __m128i narrow(const BFloat16*, Floats v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
  return _mm256_castsi256_si128(
      _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08));
}

inline void store(void* p, __m256 v) { _mm256_storeu_ps(static_cast<float*>(p), v); }
inline void store(void* p, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
inline void stream(void* p, __m256 v) { _mm256_stream_ps(static_cast<float*>(p), v); }
inline void stream(void* p, __m128i v) { _mm_stream_si128(static_cast<__m128i*>(p), v); }

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
  _mm256_storeu_pd(p, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
  _mm256_storeu_pd(p + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
}

}  // namespace
}  // namespace expansive

// It is written in what stands above.
#include "cpu/lists_avx.h"
