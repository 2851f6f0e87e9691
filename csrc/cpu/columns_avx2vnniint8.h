// The operands of the screen by bytes: whole numbers of 8 bits, four to a word, summed in 32 bits
// as in columns_avx512int8.h.
#pragma once

#include <cstring>

#include "cpu/columns_avx2vnni.h"

namespace expansive {
namespace {

constexpr Elements kBytes = kOneRun;

struct RunSum {
  __m256i lanes;
};

// As wide as all sums, so it goes on from what there is.
inline RunSum start_run(Column starts, Sum sum) { return {_mm256_add_epi32(sum.lanes, starts)}; }
inline RunSum multiply_add(uint32_t query, Column column, RunSum sum) {
  const __m256i quad = _mm256_set1_epi32(static_cast<int>(query));
  return {multiply_quads(sum.lanes, quad, column)};
}
inline Sum end_run(RunSum run, Sum) { return {run.lanes}; }

inline Double8 store_byte_image(uint32_t* image, Double8 v) {
  const __m128i low = _mm256_cvtpd_epi32(v.low), high = _mm256_cvtpd_epi32(v.high);
  const __m128i last_bytes = _mm_set1_epi32(0x0C080400);
  const __m128i bytes =
      _mm_unpacklo_epi32(_mm_shuffle_epi8(low, last_bytes), _mm_shuffle_epi8(high, last_bytes));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(image), bytes);
  return {_mm256_cvtepi32_pd(low), _mm256_cvtepi32_pd(high)};
}

// What a run of bytes starts with.
inline uint32_t start_word(const uint32_t* words, int64_t count, bool&) {
  constexpr int64_t kAtOnce = 8;
  const __m256i ones = _mm256_set1_epi8(1);
  __m256i sums = _mm256_setzero_si256();
  for (int64_t from = 0; from < count; from += kAtOnce) {
    const int64_t left = count - from;
    uint32_t some[kAtOnce] = {};
    std::memcpy(some, words + from, static_cast<size_t>(left < kAtOnce ? left : kAtOnce) * 4);
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(some));
    sums = multiply_quads(sums, ones, bytes);
  }
  const __m128i quarters =
      _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  const __m128i halves = _mm_hadd_epi32(quarters, quarters);
  return static_cast<uint32_t>(-kBytes.query_shift *
                               _mm_cvtsi128_si32(_mm_hadd_epi32(halves, halves)));
}

}  // namespace
}  // namespace expansive
