// The screen's sums in AVX2, and its operands as whole numbers of 16 bits, two to a word.
//
// Half norms are whole, too: values are exact until they become float32, though sums on the way to
// them may leave int32 and come back.
#pragma once

#include "cpu/lanes_avx2.h"
#include "cpu/whole_bound.h"

namespace expansive {
namespace {

constexpr Elements kElements = kWholeElements;

inline Double8 store_image(uint32_t* image, Double8 v) {
  const __m128i low = whole4(v.low, -kMostWhole, kMostWhole);
  const __m128i high = whole4(v.high, -kMostWhole, kMostWhole);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(image), _mm_packs_epi32(low, high));
  return {_mm256_cvtepi32_pd(low), _mm256_cvtepi32_pd(high)};
}

using Column = __m256i;

struct Sum {
  __m256i lanes;
};

inline Sum zero_sum() { return {_mm256_setzero_si256()}; }
// Values that are not whole numbers of 32 bits, such as minus infinity, become the least of them.
inline Sum start_sum(Vector values) { return {_mm256_cvtps_epi32(values.lanes)}; }
inline Vector values_of(Sum sum) { return {_mm256_cvtepi32_ps(sum.lanes)}; }
inline Sum larger(Sum a, Sum b) { return {_mm256_max_epi32(a.lanes, b.lanes)}; }
inline __m256i lanes_reaching(Sum sum, Bound bound) {
  return _mm256_cmpgt_epi32(sum.lanes, _mm256_set1_epi32(bound.below));
}
inline __m256i either(__m256i a, __m256i b) { return _mm256_or_si256(a, b); }
inline bool any_lane(__m256i lanes) { return _mm256_movemask_epi8(lanes) != 0; }
inline void add_to_doubles(Sum sum, double* sums) {
  const __m256d low = _mm256_cvtepi32_pd(_mm256_castsi256_si128(sum.lanes));
  const __m256d high = _mm256_cvtepi32_pd(_mm256_extracti128_si256(sum.lanes, 1));
  _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), low));
  _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_loadu_pd(sums + 4), high));
}
inline Column load_column(const uint32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

}  // namespace
}  // namespace expansive
