#include "cpu/extent.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/integers.h"
#include "cpu/row_sample.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kFeaturesPerTask = 64;

}  // namespace

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size()) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Extent find_extent(const Rows& rows, const Kernels& kernels, const std::vector<double>& row_scales,
                   int64_t most, int threads, Interrupt& interrupt) {
  const size_t padded = static_cast<size_t>(round_up(rows.d, 8));
  const RowSample picked(rows, kernels, row_scales, most);
  const size_t sampled = static_cast<size_t>(picked.size());
  std::vector<double> sample(sampled * padded);
  for (size_t i = 0; i < sampled; ++i) {
    picked.widen(static_cast<int64_t>(i), sample.data() + i * padded);
  }
  Extent extent{std::vector<double>(padded), sample[0], sample[0], 0.0, 0.0};
  for (size_t i = 0; i < sampled; ++i) {
    const auto begin = sample.begin() + static_cast<int64_t>(i * padded);
    const auto [low, high] = std::minmax_element(begin, begin + rows.d);
    extent.low = std::min(extent.low, *low);
    extent.high = std::max(extent.high, *high);
  }
  parallel_for(divide_up(rows.d, kFeaturesPerTask), threads, interrupt, [&](int64_t task, int) {
    std::vector<double> values(sampled);
    const int64_t end = std::min(rows.d, (task + 1) * kFeaturesPerTask);
    for (int64_t j = task * kFeaturesPerTask; j < end; ++j) {
      const size_t at = static_cast<size_t>(j);
      for (size_t i = 0; i < sampled; ++i) values[i] = sample[i * padded + at];
      extent.centre[at] = median(values);
    }
  });
  const auto squared_distance = kernels.refine[static_cast<int>(DType::float64)];
  std::vector<double> squared(sampled);
  for (size_t i = 0; i < sampled; ++i) {
    squared[i] = squared_distance(extent.centre.data(), sample.data() + i * padded, 1.0, rows.d,
                                  std::numeric_limits<double>::infinity());
  }
  extent.farthest = std::sqrt(*std::max_element(squared.begin(), squared.end()));
  extent.spread = std::sqrt(median(squared));
  return extent;
}

}  // namespace expansive
