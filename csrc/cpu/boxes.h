// Boxes around panels and tiles in their leading coordinates: what lies in a box that is out of
// reach need not be screened.
//
// Cost: a few operations a coordinate, for many boxes or a tile of points at once; the compiler
// vectorises both loops. Results are float32 with a relative error of at most (dims + 3) 2^-23.
#pragma once

#include "cpu/isa.h"

namespace expansive {
namespace {

inline float larger_of(float a, float b) { return a > b ? a : b; }

// The squared distances of boxes from one box; zero where they overlap.
inline void measure_boxes(const BoxesTask& task) {
  float* __restrict out = task.squared_distances;
  for (int64_t i = 0; i < task.count; ++i) out[i] = 0.0f;
  for (int64_t j = 0; j < task.dims; ++j) {
    const float* lows = task.lows + j * task.stride;
    const float* highs = task.highs + j * task.stride;
    const float low = task.low[j], high = task.high[j];
    for (int64_t i = 0; i < task.count; ++i) {
      const float gap = larger_of(larger_of(lows[i] - high, low - highs[i]), 0.0f);
      out[i] += gap * gap;
    }
  }
}

// Whether any point of a tile has a box within its reach.
inline bool any_within_reach(const ReachTask& task) {
  for (int64_t i = 0; i < kMostTileQueries; i += Vector::kWidth) {
    Vector squared = zero_vector();
    for (int64_t j = 0; j < task.dims; ++j) {
      squared = add_square(outside(load_vector(task.points + j * kMostTileQueries + i),
                                   task.low[j * task.stride], task.high[j * task.stride]),
                           squared);
    }
    if (any_not_negative(subtract(load_vector(task.reaches + i), squared))) return true;
  }
  return false;
}

}  // namespace
}  // namespace expansive
