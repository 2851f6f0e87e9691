// Boxes around panels and tiles in their leading coordinates: what lies in a box that is out of
// reach need not be screened.
//
// Cost: a few operations a coordinate, for a vector of boxes or of a tile's points at once. Whole
// vectors are read and written: what lies past the last of them has room. Results are float32 with
// a relative error of at most (dims + 3) 2^-23.
#pragma once

#include "cpu/isa.h"

namespace expansive {
namespace {

// The squared distances of boxes from one box; zero where they overlap.
inline void measure_boxes(const BoxesTask& task) {
  for (int64_t i = 0; i < task.count; i += Vector::kWidth) {
    Vector squared = zero_vector();
    for (int64_t j = 0; j < task.dims; ++j) {
      const Vector above = minus(load_vector(task.lows + j * task.stride + i), task.high[j]);
      const Vector below = minus(load_vector(task.highs + j * task.stride + i), task.low[j]);
      const Vector gap = larger(above, subtract(zero_vector(), below));
      squared = add_square(larger(gap, zero_vector()), squared);
    }
    store_vector(task.squared_distances + i, squared);
  }
}

// Whether any point of a tile has a box within its reach.
template <int kTileQueries>
bool any_within_reach(const ReachTask& task) {
  for (int64_t i = 0; i < kTileQueries; i += Vector::kWidth) {
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
