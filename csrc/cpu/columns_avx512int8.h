// The operands of the screen by bytes: whole numbers of 8 bits, four to a word.
//
// vpdpbusd makes the four products of two words and adds them to what was there, in 32 bits: twice
// as many at once as of 16 bits. One operand is without sign: the query's numbers are shifted up,
// and sums start at what that adds to them, negated. On the way they may leave 32 bits and come
// back.
#pragma once

#include "cpu/columns_avx512vnni.h"

namespace expansive {
namespace {

constexpr Elements kBytes = kOneRun;

struct RunSum {
  __m512i lanes;
};

// As wide as all sums, so it goes on from what there is.
inline RunSum start_run(Column starts, Sum sum) { return {_mm512_add_epi32(sum.lanes, starts)}; }
inline RunSum multiply_add(uint32_t query, Column column, RunSum sum) {
  const __m512i quad = _mm512_set1_epi32(static_cast<int>(query));
  return {multiply_quads(sum.lanes, quad, column)};
}
inline Sum end_run(RunSum run, Sum) { return {run.lanes}; }

inline Double8 store_byte_image(uint32_t* image, Double8 v) {
  const __m256i whole = _mm512_cvtpd_epi32(v);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(image), _mm256_cvtepi32_epi8(whole));
  return _mm512_cvtepi32_pd(whole);
}

// What a run of bytes starts with.
inline uint32_t start_word(const uint32_t* words, int64_t count, bool&) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sums = _mm512_setzero_si512();
  for (int64_t from = 0; from < count; from += 16) {
    const int64_t left = count - from;
    const __mmask16 some = static_cast<__mmask16>(left < 16 ? (1u << left) - 1 : 0xFFFFu);
    const __m512i bytes = _mm512_maskz_loadu_epi32(some, words + from);
    sums = multiply_quads(sums, ones, bytes);
  }
  return static_cast<uint32_t>(-kBytes.query_shift * _mm512_reduce_add_epi32(sums));
}

}  // namespace
}  // namespace expansive
