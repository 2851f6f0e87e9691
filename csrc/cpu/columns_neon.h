// The screen's sums in NEON, and its operands as whole numbers of 16 bits, two to a word, as in
// sums_avx2.h. A product of four columns, in 32 bits, is one instruction, as in float32, but images
// take half the memory and sums are exact.
#pragma once

#include "cpu/lanes_neon.h"
#include "cpu/whole_bound.h"

namespace expansive {
namespace {

constexpr Elements kElements = kWholeElements;

inline Double8 store_image(uint32_t* image, Double8 v) {
  const int32x4_t low = whole4(v.lane, -kMostWhole, kMostWhole);
  const int32x4_t high = whole4(v.lane + 4, -kMostWhole, kMostWhole);
  vst1q_s16(reinterpret_cast<int16_t*>(image), vcombine_s16(vmovn_s32(low), vmovn_s32(high)));
  return as_doubles(low, high);
}

using Column = uint32x4_t;

struct Sum {
  int32x4_t lanes;
};

inline Sum zero_sum() { return {vdupq_n_s32(0)}; }
// Values that are not whole numbers of 32 bits, such as minus infinity, become the least of them.
inline Sum start_sum(Vector values) { return {vcvtnq_s32_f32(values.lanes)}; }
inline Vector values_of(Sum sum) { return {vcvtq_f32_s32(sum.lanes)}; }
inline Sum larger(Sum a, Sum b) { return {vmaxq_s32(a.lanes, b.lanes)}; }
inline uint32x4_t lanes_reaching(Sum sum, Bound bound) {
  return vcgtq_s32(sum.lanes, vdupq_n_s32(bound.below));
}
inline uint32x4_t either(uint32x4_t a, uint32x4_t b) { return vorrq_u32(a, b); }
inline bool any_lane(uint32x4_t lanes) { return vmaxvq_u32(lanes) != 0; }
inline void add_to_doubles(Sum sum, double* sums) {
  int32_t lanes[Vector::kWidth];
  vst1q_s32(lanes, sum.lanes);
  for (int i = 0; i < Vector::kWidth; ++i) sums[i] += lanes[i];
}
inline Column load_column(const uint32_t* p) { return vld1q_u32(p); }
inline Sum multiply_add(uint32_t query, Column column, Sum sum) {
  const int16x4_t first = vmovn_s32(vreinterpretq_s32_u32(column));
  const int16x4_t second = vshrn_n_s32(vreinterpretq_s32_u32(column), 16);
  const int16x4_t pair = vreinterpret_s16_u32(vdup_n_u32(query));
  return {vmlal_lane_s16(vmlal_lane_s16(sum.lanes, first, pair, 0), second, pair, 1)};
}

}  // namespace
}  // namespace expansive
