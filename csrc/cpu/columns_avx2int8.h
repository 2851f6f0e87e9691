// The operands of the screen by bytes: whole numbers of 8 bits, four to a word.
//
// vpmaddubsw makes the two products of a pair of bytes and their sum in 16 bits, twice as many at
// once as vpmaddwd; they are added up in 16 bits too, over a run (elements.h). One operand is
// without sign: the query's numbers are shifted up, and a run's sums start at what that adds to
// them, negated. On the way they may leave 16 bits and come back.
#pragma once

#include <cstring>

#include "cpu/columns_avx2.h"

namespace expansive {
namespace {

constexpr Elements kBytes = kShortRuns;

// Of each column two, of the first and the last two bytes of its words.
struct RunSum {
  __m256i lanes;
};

// Sums of a run have too few bits to go on from where all sums start.
inline RunSum start_run(Column starts, Sum) { return {starts}; }
// In assembly for the reason in columns_avx2.h.
inline RunSum multiply_add(uint32_t query, Column column, RunSum sum) {
  const __m256i quad = _mm256_set1_epi32(static_cast<int>(query));
  __m256i products;
  asm("vpmaddubsw %2, %3, %1\n\tvpaddw %1, %0, %0"
      : "+x"(sum.lanes), "=&x"(products)
      : "x"(column), "x"(quad));
  return sum;
}
inline Sum end_run(RunSum run, Sum sum) {
  const __m256i both = _mm256_madd_epi16(run.lanes, _mm256_set1_epi16(1));
  return {_mm256_add_epi32(sum.lanes, both)};
}

inline Double8 store_byte_image(uint32_t* image, Double8 v) {
  const __m128i low = whole4(v.low, -127.0, 127.0), high = whole4(v.high, -127.0, 127.0);
  const __m128i words = _mm_packs_epi32(low, high);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(image), _mm_packs_epi16(words, words));
  return {_mm256_cvtepi32_pd(low), _mm256_cvtepi32_pd(high)};
}

// What a run of bytes starts with; false in `fits` if some number or lane is beyond what rows are
// left as they are with.
inline uint32_t start_word(const uint32_t* words, int64_t count, bool& fits) {
  uint32_t run[kBytes.words_per_run] = {};
  std::memcpy(run, words, static_cast<size_t>(count) * 4);
  const __m256i first = _mm256_set1_epi32(1), last = _mm256_set1_epi32(1 << 16);
  __m256i sums[2] = {}, squares[2] = {}, largest = _mm256_setzero_si256();
  for (int half = 0; half < 2; ++half) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(run + 8 * half));
    const __m256i sizes = _mm256_abs_epi8(bytes);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
    const __m256i pairs_of_squares = _mm256_maddubs_epi16(sizes, sizes);
    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(pairs, first));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(pairs, last));
    squares[0] = _mm256_add_epi32(squares[0], _mm256_madd_epi16(pairs_of_squares, first));
    squares[1] = _mm256_add_epi32(squares[1], _mm256_madd_epi16(pairs_of_squares, last));
    largest = _mm256_max_epu8(largest, sizes);
  }
  const __m256i quarters = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]),
                                             _mm256_hadd_epi32(squares[0], squares[1]));
  const __m128i all =
      _mm_add_epi32(_mm256_castsi256_si128(quarters), _mm256_extracti128_si256(quarters, 1));
  const __m256i large = _mm256_cmpgt_epi8(largest, _mm256_set1_epi8(kBytes.inner_byte));
  const bool any_large = _mm256_movemask_epi8(large) != 0;
  const int32_t squared[] = {_mm_extract_epi32(all, 2), _mm_extract_epi32(all, 3)};
  constexpr int32_t kMostSquares = static_cast<int32_t>(kBytes.inner_radius * kBytes.inner_radius);
  fits = fits && !any_large && squared[0] <= kMostSquares && squared[1] <= kMostSquares;
  const auto start = [](int32_t sum) { return static_cast<uint16_t>(-kBytes.query_shift * sum); };
  return start(_mm_extract_epi32(all, 0)) | static_cast<uint32_t>(start(_mm_extract_epi32(all, 1)))
                                                << 16;
}

}  // namespace
}  // namespace expansive
