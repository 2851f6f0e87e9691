// The instructions of AVX-VNNI, which are those of vnni.h in AVX2's registers; in assembly for the
// same reason.
#pragma once

#include <immintrin.h>

namespace expansive {
namespace {

// Adds the products of pairs of 16-bit numbers to 32-bit sums.
inline __m256i multiply_pairs(__m256i sums, __m256i a, __m256i b) {
  asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sums) : "x"(a), "x"(b));
  return sums;
}

// The same of four bytes each, those of `a` without a sign.
inline __m256i multiply_quads(__m256i sums, __m256i a, __m256i b) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(a), "x"(b));
  return sums;
}

}  // namespace
}  // namespace expansive
