#include "cpu/reach.h"

#include <limits>

namespace expansive {

Reach::Reach(const Kernels& kernels, int64_t dims, int64_t tiles)
    : kernels_(kernels),
      dims_(dims),
      points_(static_cast<size_t>(tiles * dims * kMostTileQueries)),
      reaches_(static_cast<size_t>(tiles * kMostTileQueries), -1.0f),
      lows_(static_cast<size_t>(tiles * dims), std::numeric_limits<float>::infinity()),
      highs_(lows_.size(), -std::numeric_limits<float>::infinity()) {}

void Reach::place(int64_t tile, int64_t lane, const float* point) {
  for (int64_t j = 0; j < dims_; ++j) {
    const size_t at = static_cast<size_t>(tile * dims_ + j);
    points_[at * kMostTileQueries + static_cast<size_t>(lane)] = point[j];
    lows_[at] = std::min(lows_[at], point[j]);
    highs_[at] = std::max(highs_[at], point[j]);
  }
}

float Reach::farthest(int64_t tile) const {
  const auto begin = reaches_.begin() + tile * kMostTileQueries;
  return *std::max_element(begin, begin + kMostTileQueries);
}

const float* Reach::measure(int64_t tile, const Boxes& boxes, Range range,
                            std::vector<float>& out) const {
  out.resize(static_cast<size_t>(range.end - range.begin + kSpareFloats));
  kernels_.measure_boxes({lows_.data() + tile * dims_, highs_.data() + tile * dims_, dims_,
                          boxes.lows.data() + range.begin, boxes.highs.data() + range.begin,
                          boxes.count, range.end - range.begin, out.data()});
  return out.data();
}

bool Reach::any_reaches(int64_t tile, const Boxes& boxes, int64_t panel) const {
  return kernels_.any_within_reach(
      {points_.data() + tile * dims_ * kMostTileQueries, reaches_.data() + tile * kMostTileQueries,
       dims_, boxes.lows.data() + panel, boxes.highs.data() + panel, boxes.count});
}

double Reach::between_centres(int64_t tile, const Boxes& boxes, int64_t box) const {
  double squared = 0.0;
  for (int64_t j = 0; j < dims_; ++j) {
    const size_t at = static_cast<size_t>(tile * dims_ + j);
    const double gap = (static_cast<double>(boxes.low(box, j)) + boxes.high(box, j)) -
                       (static_cast<double>(lows_[at]) + highs_[at]);
    squared += gap * gap;
  }
  return squared;
}

Range Reach::nearest_cluster(int64_t tile, const Panels& panels,
                             const std::vector<Range>& runs) const {
  constexpr int64_t kLength = Panels::kClusterPanels;
  int64_t best = -1;
  double least = std::numeric_limits<double>::infinity();
  for (const Range& run : runs) {
    if (run.begin >= run.end) continue;
    for (int64_t cluster = run.begin / kLength; cluster < divide_up(run.end, kLength); ++cluster) {
      const double distance = between_centres(tile, panels.cluster_boxes(), cluster);
      if (distance < least) {
        least = distance;
        best = cluster;
      }
    }
  }
  return best < 0 ? Range{0, 0} : Range{best * kLength, (best + 1) * kLength};
}

}  // namespace expansive
