#include "cpu/multiply.h"

#include <algorithm>
#include <vector>

#include "cpu/integers.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

// Copies rows of a transposed matrix, in which the same feature of neighbouring rows lies side by
// side, to contiguous ones, `stride` apart.
void gather(const FloatView& a, int64_t first, int64_t count, int64_t stride, float* out) {
  for (int64_t j = 0; j < a.columns; ++j) {
    for (int64_t i = 0; i < count; ++i) out[i * stride + j] = *a.at(first + i, j);
  }
}

}  // namespace

void multiply(const FloatView& a, const FloatView& b, int threads, Interrupt& interrupt,
              float* products) {
  check(a.columns == b.columns, "rows have different lengths");
  const Kernels& chosen = finest(kernels());
  const Projection projection(chosen, b);
  const int64_t group = 4 * chosen.tile_queries, width = projection.width();
  // Copies a power of two apart would share the few places a first-level cache has for them.
  const int64_t copied = a.contiguous_rows() ? 0 : round_up(a.columns, 16) + 16;
  const std::vector<double> origin(static_cast<size_t>(round_up(a.columns, 8)), 0.0);
  parallel_for(divide_up(a.rows, group), threads, interrupt, [&](int64_t task, int) {
    const int64_t first = task * group, count = std::min(group, a.rows - first);
    std::vector<float> copies(static_cast<size_t>(count * copied));
    std::vector<uint32_t> images(static_cast<size_t>(group * projection.stride()));
    std::vector<double> sums(static_cast<size_t>(count * width));
    if (!a.contiguous_rows()) gather(a, first, count, copied, copies.data());
    std::vector<double> units(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const float* row = a.contiguous_rows() ? a.at(first + i, 0) : copies.data() + i * copied;
      const double unit = element_unit(chosen, origin.data(), row, a.columns);
      units[static_cast<size_t>(i)] = unit;
      chosen.prepare[static_cast<int>(DType::float32)](row, 1.0, origin.data(), unit, a.columns,
                                                       images.data() + i * projection.stride());
    }
    projection.project(images.data(), count, sums.data());
    for (int64_t i = 0; i < count; ++i) {
      const double one = units[static_cast<size_t>(i)] * projection.unit();
      for (int64_t j = 0; j < b.rows; ++j) {
        products[(first + i) * b.rows + j] =
            static_cast<float>(sums[static_cast<size_t>(i * width + j)] / one);
      }
    }
  });
}

}  // namespace expansive
