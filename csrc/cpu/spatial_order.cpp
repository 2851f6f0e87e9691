#include "cpu/spatial_order.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "cpu/integers.h"
#include "cpu/panel_boxes.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kSampled = 256;  // points that tell which coordinate is widest
constexpr int64_t kBuckets = 512;

// Points are moved whole: their numbers alone would have them read from anywhere.
struct Point {
  std::array<float, kBoxDims> at;
  uint32_t number;
};

struct Part {
  Point* points;
  int64_t count;
};

size_t widest(Part part) {
  const int64_t step = divide_up(part.count, kSampled);
  std::array<double, kBoxDims> sum{}, squares{};
  double count = 0.0;
  for (int64_t i = 0; i < part.count; i += step, count += 1.0) {
    for (size_t j = 0; j < kBoxDims; ++j) {
      const double value = static_cast<double>(part.points[i].at[j] - part.points[0].at[j]);
      sum[j] += value;
      squares[j] += value * value;
    }
  }
  for (size_t j = 0; j < kBoxDims; ++j) squares[j] -= sum[j] * sum[j] / count;
  return static_cast<size_t>(std::max_element(squares.begin(), squares.end()) - squares.begin());
}

// Which of even buckets between the smallest and the largest value a value falls into. Equal values
// fall into one, and none into an earlier one than a smaller value does.
class Buckets {
 public:
  Buckets(Part part, size_t j) : j_(j) {
    float low = part.points[0].at[j], high = low;
    for (int64_t i = 1; i < part.count; ++i) {
      low = std::min(low, part.points[i].at[j]);
      high = std::max(high, part.points[i].at[j]);
    }
    const float width = high - low;
    low_ = low;
    per_unit_ = width > 0.0f ? static_cast<float>(kBuckets - 1) / width : 0.0f;
    if (!(per_unit_ <= 0x1p100f)) per_unit_ = 0.0f;
  }

  int32_t of(const Point& point) const {
    const float bucket = (point.at[j_] - low_) * per_unit_;
    return static_cast<int32_t>(std::min(std::max(0.0f, bucket), kBuckets - 1.0f));
  }

 private:
  size_t j_;
  float low_;
  float per_unit_;
};

// Puts the `first` points that are smallest along the widest coordinate before the others: by
// counting, because comparing has branches to mispredict, with one bucket left to compare.
void split(Part part, int64_t first, Point* spare) {
  const size_t j = widest(part);
  const Buckets buckets(part, j);
  std::array<int64_t, kBuckets> counts{};
  for (int64_t i = 0; i < part.count; ++i)
    ++counts[static_cast<size_t>(buckets.of(part.points[i]))];
  int32_t middle = 0;
  int64_t before = 0;
  for (; before + counts[static_cast<size_t>(middle)] <= first; ++middle) {
    before += counts[static_cast<size_t>(middle)];
  }
  std::array<int64_t, 3> next{0, before, before + counts[static_cast<size_t>(middle)]};
  const std::array<int64_t, 2> tie{next[1], next[2]};
  for (int64_t i = 0; i < part.count; ++i) {
    const int32_t bucket = buckets.of(part.points[i]);
    const size_t side = (bucket >= middle ? 1u : 0u) + (bucket > middle ? 1u : 0u);
    spare[next[side]++] = part.points[i];
  }
  std::nth_element(spare + tie[0], spare + first, spare + tie[1],
                   [j](const Point& a, const Point& b) { return a.at[j] < b.at[j]; });
  std::copy_n(spare, part.count, part.points);
}

}  // namespace

std::vector<uint32_t> spatial_order(const float* points, int64_t dims,
                                    const std::vector<uint32_t>& order,
                                    const std::vector<Range>& runs, int64_t leaf, int threads,
                                    Interrupt& interrupt) {
  std::vector<Point> sorted(order.size()), spare(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    sorted[i] = {{}, order[i]};
    std::copy_n(points + static_cast<int64_t>(order[i]) * dims, dims, sorted[i].at.begin());
  }
  // Where the later half begins: a part that has none is a leaf.
  const auto middle = [leaf](Range part) {
    const int64_t half = part.begin + (part.end - part.begin) / 2;
    return part.end - part.begin > leaf ? round_up(half, leaf) : part.end;
  };
  std::vector<Range> parts = runs;
  while (!parts.empty()) {
    parallel_for(static_cast<int64_t>(parts.size()), threads, interrupt, [&](int64_t task, int) {
      const Range part = parts[static_cast<size_t>(task)];
      if (middle(part) >= part.end) return;
      split({sorted.data() + part.begin, part.end - part.begin}, middle(part) - part.begin,
            spare.data() + part.begin);
    });
    std::vector<Range> halves;
    for (const Range part : parts) {
      if (middle(part) >= part.end) continue;
      halves.push_back({part.begin, middle(part)});
      halves.push_back({middle(part), part.end});
    }
    parts = std::move(halves);
  }
  std::vector<uint32_t> numbers;
  numbers.reserve(sorted.size());
  for (const Point& point : sorted) numbers.push_back(point.number);
  return numbers;
}

}  // namespace expansive
