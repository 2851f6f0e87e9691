// What lists.h asks of vectors whose comparisons make masks at once: AVX2 and AVX-512.
#pragma once

#include <cstdint>

namespace expansive {
namespace {

// How many are at least `least`. Reads up to a vector past the last: kSpareCandidates.
inline int64_t count_from(const float* values, int64_t count, float least) {
  int64_t reaching = 0, i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    reaching += __builtin_popcount(lanes_at_least(load_vector(values + i), least));
  }
  const uint32_t listed = (1u << (count - i)) - 1u;
  return reaching + __builtin_popcount(lanes_at_least(load_vector(values + i), least) & listed);
}

}  // namespace
}  // namespace expansive
