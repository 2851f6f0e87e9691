// Lanes of the screen in NEON, which every 64-bit ARM processor has. The others are in plain C++:
// compilers make NEON of it.
#pragma once

#include <arm_neon.h>

#include "cpu/lanes_plain.h"

namespace expansive {
namespace {

struct Vector {
  static constexpr int kWidth = 4;
  float32x4_t lanes;
};

inline Vector zero_vector() { return {vdupq_n_f32(0.0f)}; }
inline Vector load_vector(const float* p) { return {vld1q_f32(p)}; }
inline void store_vector(float* p, Vector v) { vst1q_f32(p, v.lanes); }
inline Vector larger(Vector a, Vector b) { return {vmaxq_f32(a.lanes, b.lanes)}; }
inline Vector smaller(Vector a, Vector b) { return {vminq_f32(a.lanes, b.lanes)}; }
inline Vector minus(Vector v, float threshold) {
  return {vsubq_f32(v.lanes, vdupq_n_f32(threshold))};
}
inline Vector subtract(Vector a, Vector b) { return {vsubq_f32(a.lanes, b.lanes)}; }
inline Vector add_square(Vector v, Vector sum) { return {vfmaq_f32(sum.lanes, v.lanes, v.lanes)}; }
inline Vector outside(Vector v, float low, float high) {
  const float32x4_t inside = vminq_f32(vmaxq_f32(v.lanes, vdupq_n_f32(low)), vdupq_n_f32(high));
  return {vsubq_f32(v.lanes, inside)};
}
inline bool any_not_negative(Vector v) { return vmaxvq_u32(vcgezq_f32(v.lanes)) != 0; }
inline uint32_t lanes_at_least(Vector v, float threshold) {
  constexpr uint32_t kBits[] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(v.lanes, vdupq_n_f32(threshold)), vld1q_u32(kBits)));
}
// Whole numbers of 32 bits from `least` to `most`; what is outside goes to the nearest, NaN to the
// least.
inline int32x4_t whole4(const double* v, double least, double most) {
  const auto two = [=](float64x2_t pair) {
    const float64x2_t inside =
        vminnmq_f64(vmaxnmq_f64(pair, vdupq_n_f64(least)), vdupq_n_f64(most));
    return vmovn_s64(vcvtnq_s64_f64(inside));
  };
  return vcombine_s32(two(vld1q_f64(v)), two(vld1q_f64(v + 2)));
}
inline Double8 as_doubles(int32x4_t low, int32x4_t high) {
  Double8 v;
  int32_t whole[8];
  vst1q_s32(whole, low);
  vst1q_s32(whole + 4, high);
  for (int i = 0; i < 8; ++i) v.lane[i] = whole[i];
  return v;
}

}  // namespace
}  // namespace expansive

// It is written in what stands above.
#include "cpu/lists_plain.h"
