// How sums that are whole numbers are compared with a threshold: they need not become float32.
#pragma once

#include <cstdint>

namespace expansive {
namespace {

// What the least whole number that reaches a threshold is above.
struct Bound {
  int32_t below;
};

inline Bound bound_of(float threshold) {
  constexpr float kEnd = 0x1p31f;
  if (!(threshold < kEnd)) return {INT32_MAX};
  if (!(threshold > -kEnd)) return {INT32_MIN};  // only columns that pad a panel do not reach it
  return {static_cast<int32_t>(__builtin_ceilf(threshold)) - 1};
}

}  // namespace
}  // namespace expansive
