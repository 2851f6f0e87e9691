// The screen's operands as whole numbers of 16 bits (sums_avx2.h).
//
// vpmaddwd makes the two products of a pair and their sum in int32, exactly. A processor makes as
// many of it as of the fused multiply-adds of eight float32, which have half the products; the
// addition to what was there is one instruction more, but can be made where no products are.
#pragma once

#include "cpu/sums_avx2.h"

namespace expansive {
namespace {

// In assembly, because GCC makes all products of a tile first, for which there are too few
// registers.
inline Sum multiply_add(uint32_t query, Column column, Sum sum) {
  const __m256i pair = _mm256_set1_epi32(static_cast<int>(query));
  __m256i products;
  asm("vpmaddwd %2, %3, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum.lanes), "=&x"(products)
      : "x"(column), "x"(pair));
  return sum;
}

}  // namespace
}  // namespace expansive
