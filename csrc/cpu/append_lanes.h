// Appends the lanes of a vector that a mask names, for lanes that have no instruction for it.
#pragma once

#include <cstdint>

namespace expansive {
namespace {

inline int64_t append_lanes(Vector v, uint32_t mask, uint32_t column, float* values,
                            uint32_t* columns) {
  float lanes[Vector::kWidth];
  store_vector(lanes, v);
  int64_t n = 0;
  for (; mask != 0; mask &= mask - 1) {
    const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(mask));
    values[n] = lanes[lane];
    columns[n++] = column + lane;
  }
  return n;
}

}  // namespace
}  // namespace expansive
