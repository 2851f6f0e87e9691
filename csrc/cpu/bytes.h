// The second screen's kernels: rows rounded to one byte a feature, and the squared distance of two.
//
// A byte image has all features, so that it excludes nearly all that the first screen, which sees a
// few directions, lets pass; and it is a quarter of a float32 row, read from anywhere in memory:
// that bounds it, not the arithmetic. Sums are whole numbers, so they are exact in any order, and
// the compiler may vectorise the loops as it likes.
#pragma once

#include "cpu/isa.h"
#include "cpu/prefetch.h"
#include "cpu/refine.h"

namespace expansive {
namespace {

// In whole steps from `low`, each a byte; measures the values that the bytes stand for.
template <typename T>
ImageSums prepare_bytes(const void* row, double row_scale, const double* low, double scale,
                        double step, int64_t d, uint8_t* bytes) {
  const Double8 steps_per_unit = splat8(1.0 / step), units = splat8(step);
  return place<T>(row, row_scale, low, scale, d, [=](int64_t j, Double8 exact) {
    return mul(store8_bytes(bytes + j, mul(exact, steps_per_unit)), units);
  });
}

// The sum of squared differences of two byte images, `n` a multiple of 64.
inline int64_t squared_steps(const uint8_t* a, const uint8_t* b, int64_t n) {
  constexpr int64_t kChunk = 1 << 14;  // its sum fits 31 bits
  int64_t sum = 0;
  for (int64_t from = 0; from < n; from += kChunk) {
    const int64_t end = from + kChunk < n ? from + kChunk : n;
    int32_t part = 0;
    for (int64_t j = from; j < end; ++j) {
      const int16_t difference = static_cast<int16_t>(a[j] - b[j]);
      part += difference * difference;
    }
    sum += part;
  }
  return sum;
}

inline void compare_bytes(const BytesTask& task) {
  constexpr int64_t kBytesAhead = 4096;  // images to ask for while one is compared
  const auto image = [&](int64_t i) { return task.images + task.picked[i] * task.size; };
  visit_ahead(
      task.count, rows_ahead(kBytesAhead, task.size, 16),
      [&](int64_t i) { prefetch(image(i), task.size); },
      [&](int64_t i) { task.squared_steps[i] = squared_steps(task.query, image(i), task.size); });
}

}  // namespace
}  // namespace expansive
