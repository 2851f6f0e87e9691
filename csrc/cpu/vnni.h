// The instructions of AVX-512 VNNI, in assembly: of their intrinsics GCC makes loops that copy
// every sum to memory and back.
#pragma once

#include <immintrin.h>

namespace expansive {
namespace {

// Adds the products of pairs of 16-bit numbers to 32-bit sums.
inline __m512i multiply_pairs(__m512i sums, __m512i a, __m512i b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
  return sums;
}

// The same of four bytes each, those of `a` without a sign.
inline __m512i multiply_quads(__m512i sums, __m512i a, __m512i b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
  return sums;
}

}  // namespace
}  // namespace expansive
