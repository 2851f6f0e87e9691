// In place of csrc/cpu/vnni_avx2.h, likewise.
#pragma once

#include "vnni.h"

namespace expansive {
namespace {

inline __m512i twice(__m256i v) { return emulated::join<__m512i>(v, v); }

inline __m256i multiply_pairs(__m256i sums, __m256i a, __m256i b) {
  return emulated::half<__m256i>(multiply_pairs(twice(sums), twice(a), twice(b)), 0);
}

inline __m256i multiply_quads(__m256i sums, __m256i a, __m256i b) {
  return emulated::half<__m256i>(multiply_quads(twice(sums), twice(a), twice(b)), 0);
}

}  // namespace
}  // namespace expansive
