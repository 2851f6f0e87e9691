// The screen's operands as whole numbers of 16 bits, as in columns_avx2.h: here one instruction,
// vpdpwssd, makes the products of pairs and adds them to what was there.
#pragma once

#include "cpu/sums_avx2.h"
#include "cpu/vnni_avx2.h"

namespace expansive {
namespace {

inline Sum multiply_add(uint32_t query, Column column, Sum sum) {
  const __m256i pair = _mm256_set1_epi32(static_cast<int>(query));
  return {multiply_pairs(sum.lanes, pair, column)};
}

}  // namespace
}  // namespace expansive
