// The screen's operands in float32.
#pragma once

#include "cpu/sums_avx512.h"

namespace expansive {
namespace {

constexpr Elements kElements = {1, false, kFloatRadius, 1.0, 0x1p-148};

inline Double8 store_image(uint32_t* image, Double8 v) {
  const __m256 rounded = _mm512_cvtpd_ps(v);
  _mm256_storeu_ps(reinterpret_cast<float*>(image), rounded);
  return _mm512_cvtps_pd(rounded);
}
using Column = Vector;

inline Column load_column(const uint32_t* p) {
  return {_mm512_castsi512_ps(_mm512_loadu_si512(p))};
}
inline Sum multiply_add(uint32_t query, Column column, Sum sum) {
  return {_mm512_fmadd_ps(_mm512_set1_ps(float_of(query)), column.lanes, sum.lanes)};
}

}  // namespace
}  // namespace expansive
