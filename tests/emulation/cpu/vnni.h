// In place of csrc/cpu/vnni.h, whose assembly only a processor with VNNI can execute.
#pragma once

#include <immintrin.h>

namespace expansive {
namespace {

inline __m512i multiply_pairs(__m512i sums, __m512i a, __m512i b) {
  const auto x = emulated::bits<emulated::Signed16>(a), y = emulated::bits<emulated::Signed16>(b);
  auto wide = emulated::bits<emulated::U32>(sums);
  for (int i = 0; i < 16; ++i) {
    for (int j = 2 * i; j < 2 * i + 2; ++j) wide[i] += static_cast<uint32_t>(x[j] * y[j]);
  }
  return emulated::bits<__m512i>(wide);
}

// No sum of four products is cut.
inline __m512i multiply_quads(__m512i sums, __m512i a, __m512i b) {
  const auto x = emulated::bits<emulated::Bytes>(a);
  const auto y = emulated::bits<emulated::SignedBytes>(b);
  auto wide = emulated::bits<emulated::U32>(sums);
  for (int i = 0; i < 16; ++i) {
    for (int j = 4 * i; j < 4 * i + 4; ++j) wide[i] += static_cast<uint32_t>(x[j] * y[j]);
  }
  return emulated::bits<__m512i>(wide);
}

}  // namespace
}  // namespace expansive
