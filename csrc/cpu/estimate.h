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

// Of some rows at once, or of some parts of each: sums that do not wait for each other. `rest` is
// what is left of the query after whole vectors.
template <int kRows, int kParts, typename T>
[[gnu::always_inline]] inline void estimate(const float* query, const float* rest,
                                            const T* const* rows, int64_t d, float* out) {
  Floats sums[kRows][kParts];
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kParts; ++p) sums[r][p] = zero_floats();
  }
  const auto add_vector = [&](int p, int64_t at) {
    const Floats part = load_floats(query + at);
    for (int r = 0; r < kRows; ++r) {
      sums[r][p] = add_squared_difference(part, load_floats(rows[r] + at), sums[r][p]);
    }
  };
  int64_t j = 0;
  for (; j + kParts * kFloats <= d; j += kParts * kFloats) {
    for (int p = 0; p < kParts; ++p) add_vector(p, j + p * kFloats);
  }
  if (kParts > 1) {
    for (; j + kFloats <= d; j += kFloats) add_vector(0, j);
  }
  if (j < d) {
    for (int r = 0; r < kRows; ++r) {
      const Tail<kFloats, T> tail(rows[r] + j, d - j);
      sums[r][0] = add_squared_difference(load_floats(rest), load_floats(tail.values), sums[r][0]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int p = 1; p < kParts; ++p) sums[r][0] = add(sums[r][0], sums[r][p]);
    out[r] = sum_of(sums[r][0]);
  }
}

template <typename T>
void to_floats(const void* row, int64_t d, float* out) {
  const T* x = static_cast<const T*>(row);
  int64_t j = 0;
  for (; j + kFloats <= d; j += kFloats) store_floats<false>(out + j, load_floats(x + j));
  for (; j < d; ++j) out[j] = to_float(x[j]);
}

template <typename T>
void estimate_rows(const EstimateTask& task) {
  constexpr int kRows = 4;
  const auto row = [&](int64_t i) {
    return static_cast<const T*>(task.rows) + task.picked[i] * task.d;
  };
  const int64_t whole = task.d / kFloats * kFloats;
  const Tail<kFloats, float> rest(task.query + whole, task.d - whole);
  visit_rows<kRows>(
      task.count, task.d * static_cast<int64_t>(sizeof(T)), row,
      [&](int64_t first) {
        const T* rows[kRows];
        for (int r = 0; r < kRows; ++r) rows[r] = row(first + r);
        estimate<kRows, 1>(task.query, rest.values, rows, task.d, task.squared_distances + first);
      },
      [&](int64_t i) {
        const T* const rows[] = {row(i)};
        estimate<1, 8>(task.query, rest.values, rows, task.d, task.squared_distances + i);
      });
}

}  // namespace
}  // namespace expansive
