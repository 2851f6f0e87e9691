// Squared distances in float32: which rows need not be measured, where nothing is packed or where
// the screen cannot tell rows apart.
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
  constexpr int64_t kBytesAhead = 6144;  // rows to ask for while some are estimated
  const int64_t size = task.d * static_cast<int64_t>(sizeof(T));
  const auto row = [&](int64_t at) {
    return static_cast<const T*>(task.rows) + task.picked[at] * task.d;
  };
  const int64_t groups = task.count / kRows;
  visit_ahead(
      groups, rows_ahead(kBytesAhead, size * kRows, 8),
      [&](int64_t group) {
        for (int r = 0; r < kRows; ++r) prefetch_row(row(group * kRows + r), size);
      },
      [&](int64_t group) {
        const T* rows[kRows];
        for (int r = 0; r < kRows; ++r) rows[r] = row(group * kRows + r);
        estimate<kRows>(task.query, rows, task.d, task.squared_distances + group * kRows);
      });
  for (int64_t i = groups * kRows; i < task.count; ++i) {
    const T* const rows[] = {row(i)};
    estimate<1>(task.query, rows, task.d, task.squared_distances + i);
  }
}

}  // namespace
}  // namespace expansive
