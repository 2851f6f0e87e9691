// The screen's operands as whole numbers of 16 bits, as in columns_avx2.h: here one instruction,
// vpdpwssd, makes the products of pairs and adds them to what was there.
#pragma once

#include "cpu/lanes_avx512.h"
#include "cpu/vnni.h"
#include "cpu/whole_bound.h"

namespace expansive {
namespace {

constexpr Elements kElements = kWholeElements;

inline Double8 store_image(uint32_t* image, Double8 v) {
  const __m256i whole = whole8(v, -kMostWhole, kMostWhole);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(image), _mm256_cvtepi32_epi16(whole));
  return _mm512_cvtepi32_pd(whole);
}

using Column = __m512i;

struct Sum {
  __m512i lanes;
};

inline Sum zero_sum() { return {_mm512_setzero_si512()}; }
// Values that are not whole numbers of 32 bits, such as minus infinity, become the least of them.
inline Sum start_sum(Vector values) { return {_mm512_cvtps_epi32(values.lanes)}; }
inline Vector values_of(Sum sum) { return {_mm512_cvtepi32_ps(sum.lanes)}; }
inline Sum larger(Sum a, Sum b) { return {_mm512_max_epi32(a.lanes, b.lanes)}; }
inline uint32_t lanes_reaching(Sum sum, Bound bound) {
  return _mm512_cmpgt_epi32_mask(sum.lanes, _mm512_set1_epi32(bound.below));
}
inline uint32_t either(uint32_t a, uint32_t b) { return a | b; }
inline bool any_lane(uint32_t lanes) { return lanes != 0; }
inline void add_to_doubles(Sum sum, double* sums) {
  const __m512d low = _mm512_cvtepi32_pd(_mm512_castsi512_si256(sum.lanes));
  const __m512d high = _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(sum.lanes, 1));
  _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), low));
  _mm512_storeu_pd(sums + 8, _mm512_add_pd(_mm512_loadu_pd(sums + 8), high));
}
inline Column load_column(const uint32_t* p) { return _mm512_loadu_si512(p); }
inline Sum multiply_add(uint32_t query, Column column, Sum sum) {
  const __m512i pair = _mm512_set1_epi32(static_cast<int>(query));
  return {multiply_pairs(sum.lanes, pair, column)};
}

}  // namespace
}  // namespace expansive
