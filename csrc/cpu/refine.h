// Rows in float64: the contract's exact distance, and a row's image in the screen's space.
//
// The order of additions here is the package's contract (neighbors.h): eight partial sums by fused
// multiply-add, folded as a tree. Do not reorder.
// Cost: one pass over d; a few rows for each query, four at once, because the eight sums of one
// wait for each other.
#pragma once

#include <type_traits>

#include "cpu/isa.h"
#include "cpu/prefetch.h"

namespace expansive {
namespace {

// The last elements of a row, padded with zeros: a zero difference leaves its partial sum as it is.
template <int kWidth, typename T>
struct Tail {
  T values[kWidth] = {};

  Tail(const T* p, int64_t n) {
    for (int64_t i = 0; i < n; ++i) values[i] = p[i];
  }
};

template <typename T>
inline Double8 load_tail(const T* p, int64_t n) {
  return load8(Tail<8, T>(p, n).values);
}

// Of some rows at once, whose sums do not wait for each other. Gives up, with numbers above
// `limit`, once the partial sums of all are above it: they only grow.
template <int kRows, typename T>
inline void refine(const double* query, const T* const* rows, const double* row_scales, int64_t d,
                   double limit, double* out) {
  constexpr int64_t kBetweenChecks = 256;
  Double8 scales[kRows], sums[kRows];
  for (int r = 0; r < kRows; ++r) {
    scales[r] = splat8(row_scales[r]);
    sums[r] = splat8(0.0);
  }
  const auto add_squares = [&](int r, Double8 part, Double8 values) {
    const Double8 difference = sub(part, mul(values, scales[r]));
    sums[r] = fma(difference, difference, sums[r]);
  };
  const auto fold_all = [&] {
    for (int r = 0; r < kRows; ++r) out[r] = fold(sums[r]);
  };
  int64_t j = 0;
  while (j + 8 <= d) {
    const int64_t pause = j + kBetweenChecks < d ? j + kBetweenChecks : d;
    for (; j + 8 <= pause; j += 8) {
      const Double8 part = load8(query + j);
      for (int r = 0; r < kRows; ++r) add_squares(r, part, load8(rows[r] + j));
    }
    if (pause == d) break;
    fold_all();
    bool far = true;
    for (int r = 0; r < kRows; ++r) far = far && out[r] > limit;
    if (far) return;
  }
  if (j < d) {
    const Double8 part = load8(query + j);
    for (int r = 0; r < kRows; ++r) add_squares(r, part, load_tail(rows[r] + j, d - j));
  }
  fold_all();
}

template <typename T>
double refine(const double* query, const void* row, double row_scale, int64_t d, double limit) {
  const T* rows[] = {static_cast<const T*>(row)};
  double out;
  refine<1>(query, rows, &row_scale, d, limit, &out);
  return out;
}

template <typename T>
void refine_rows(const RefineTask& task) {
  constexpr int kRows = 4;
  const auto row = [&](int64_t i) {
    return static_cast<const T*>(task.rows) + task.picked[i] * task.d;
  };
  const auto scale = [&](int64_t i) {
    return task.row_scales ? task.row_scales[task.picked[i]] : 1.0;
  };
  visit_rows<kRows>(
      task.count, task.d * static_cast<int64_t>(sizeof(T)), row,
      [&](int64_t first) {
        const T* rows[kRows];
        double scales[kRows];
        for (int r = 0; r < kRows; ++r) {
          rows[r] = row(first + r);
          scales[r] = scale(first + r);
        }
        refine<kRows>(task.query, rows, scales, task.d, task.limit, task.squared_distances + first);
      },
      [&](int64_t i) {
        task.squared_distances[i] = refine<T>(task.query, row(i), scale(i), task.d, task.limit);
      });
}

template <typename T>
void widen(const void* row, double row_scale, int64_t d, double* out) {
  const T* x = static_cast<const T*>(row);
  const Double8 scale = splat8(row_scale);
  int64_t j = 0;
  for (; j + 8 <= d; j += 8) store8(out + j, mul(load8(x + j), scale));
  if (j < d) store8(out + j, mul(load_tail(x + j, d - j), scale));
}

struct Anywhere {
  Double8 operator()(Double8 place) const { return place; }
};

// Stores a row moved and scaled through `store`, which rounds; measures the row, the result and the
// rounding. `within` may bring the row nearer first: then that is the row, and so is the way
// measured.
template <typename T, typename Store, typename Within = Anywhere>
ImageSums place(const void* row, double row_scale, const double* centre, double scale, int64_t d,
                const Store& store, const Within& within = {}) {
  const T* x = static_cast<const T*>(row);
  const Double8 by_row = splat8(row_scale), by_all = splat8(scale);
  Double8 norms = splat8(0.0), errors = splat8(0.0), lengths = splat8(0.0);
  Double8 ways = splat8(0.0), along = splat8(0.0);
  const auto take = [&](Double8 values, int64_t j) {
    const Double8 given = mul(sub(mul(values, by_row), load8(centre + j)), by_all);
    const Double8 exact = within(given);
    if constexpr (!std::is_same_v<Within, Anywhere>) {
      const Double8 way = sub(given, exact);
      ways = fma(way, way, ways);
      along = fma(way, exact, along);
    }
    const Double8 rounded = store(j, exact);
    const Double8 error = sub(rounded, exact);
    norms = fma(rounded, rounded, norms);
    errors = fma(error, error, errors);
    lengths = fma(exact, exact, lengths);
  };
  int64_t j = 0;
  for (; j + 8 <= d; j += 8) take(load8(x + j), j);
  if (j < d) take(load_tail(x + j, d - j), j);
  const double way = fold(ways);
  return {fold(norms), fold(errors), fold(lengths), way, way + 2.0 * fold(along)};
}

template <typename T>
ImageSums prepare(const void* row, double row_scale, const double* centre, double scale, int64_t d,
                  uint32_t* image) {
  return place<T>(row, row_scale, centre, scale, d, [image](int64_t j, Double8 exact) {
    return store_image(image + j / kElements.per_word, exact);
  });
}

}  // namespace
}  // namespace expansive
