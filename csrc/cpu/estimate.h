// Squared distances in float32, for searches that pack nothing: which rows need not be measured.
//
// Every operation is rounded relative to its result, so the sum of squares is known up to a
// relative error that d alone decides, wherever the rows lie: nothing is centred or scaled. Cost:
// one pass over the rows, a subtraction and a multiply-add a feature; bound by memory for one
// query. Out of scope: float64 rows, which float32 does not hold, and rows that are scaled.
#pragma once

#include "cpu/isa.h"
#include "cpu/refine.h"

namespace expansive {
namespace {

// Several rows at once: their sums do not wait for each other.
template <int kRows, typename T>
inline void estimate(const float* query, const T* const* rows, int64_t d, float* out) {
  Floats sums[kRows];
  for (int r = 0; r < kRows; ++r) sums[r] = zero_floats();
  int64_t j = 0;
  for (; j + kFloats <= d; j += kFloats) {
    const Floats part = load_floats(query + j);
    for (int r = 0; r < kRows; ++r) {
      sums[r] = add_squared_difference(part, load_floats(rows[r] + j), sums[r]);
    }
  }
  if (j < d) {
    const Floats part = load_floats(query + j);
    for (int r = 0; r < kRows; ++r) {
      sums[r] = add_squared_difference(
          part, load_floats(Tail<kFloats, T>(rows[r] + j, d - j).values), sums[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) out[r] = sum_of(sums[r]);
}

template <typename T>
void estimate_rows(const EstimateTask& task) {
  constexpr int kRows = 4;
  const T* rows[kRows];
  int64_t i = 0;
  const auto row = [&](int64_t at) {
    return static_cast<const T*>(task.rows) + task.picked[at] * task.d;
  };
  for (; i + kRows <= task.count; i += kRows) {
    for (int r = 0; r < kRows; ++r) rows[r] = row(i + r);
    estimate<kRows>(task.query, rows, task.d, task.squared_distances + i);
  }
  for (; i < task.count; ++i) {
    rows[0] = row(i);
    estimate<1>(task.query, rows, task.d, task.squared_distances + i);
  }
}

}  // namespace
}  // namespace expansive
