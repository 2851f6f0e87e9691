// What lists.h asks of vectors, in plain C++: for those that have no instructions for it.
#pragma once

#include <cstdint>

namespace expansive {
namespace {

struct Numbers {
  uint32_t lane[Vector::kWidth];
};

inline Numbers load_numbers(const uint32_t* p) {
  Numbers v;
  for (int i = 0; i < Vector::kWidth; ++i) v.lane[i] = p[i];
  return v;
}
inline Numbers numbers_from(uint32_t first) {
  Numbers v;
  for (int i = 0; i < Vector::kWidth; ++i) v.lane[i] = first + static_cast<uint32_t>(i);
  return v;
}
// Which are in [begin, end).
inline uint32_t lanes_within(Numbers v, uint32_t begin, uint32_t end) {
  uint32_t mask = 0;
  for (int i = 0; i < Vector::kWidth; ++i) mask |= uint32_t{v.lane[i] - begin < end - begin} << i;
  return mask;
}
// Without branches: which are named is hard to predict.
inline int64_t append_lanes(Vector v, Numbers numbers, uint32_t mask, float* values,
                            uint32_t* columns) {
  float lanes[Vector::kWidth];
  store_vector(lanes, v);
  int64_t n = 0;
  for (int i = 0; i < Vector::kWidth; ++i) {
    values[n] = lanes[i];
    columns[n] = numbers.lane[i];
    n += mask >> i & 1u;
  }
  return n;
}

// How many are at least `least`.
inline int64_t count_from(const float* values, int64_t count, float least) {
  int32_t reaching = 0;
  for (int64_t i = 0; i < count; ++i) reaching += values[i] >= least ? 1 : 0;
  return reaching;
}

}  // namespace
}  // namespace expansive
