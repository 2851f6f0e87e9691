// Which panels the queries of a block can reach: those whose boxes are within some query's reach.
// What is skipped holds no row that may be among its nearest, so skipping changes nothing but the
// time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/integers.h"
#include "cpu/isa.h"
#include "cpu/panels.h"

namespace expansive {

class Reach {
 public:
  Reach(const Kernels& kernels, int64_t dims, int64_t tiles);

  // The leading coordinates [dims] of a query, lane `lane` of a tile.
  void place(int64_t tile, int64_t lane, const float* point);
  // Its reach, squared; below zero: it reaches nothing.
  void set(int64_t tile, int64_t lane, float squared_reach) {
    reaches_[static_cast<size_t>(tile * kMostTileQueries + lane)] = squared_reach;
  }

  // The panels of the cluster nearest to a tile, of those that overlap with some run.
  Range nearest_cluster(int64_t tile, const Panels& panels, const std::vector<Range>& runs) const;

  // Calls visit(run) for every run of panels in `range` that are within reach when its turn comes.
  template <typename Visit>
  void visit(int64_t tile, const Panels& panels, Range range, const Visit& visit_run);

 private:
  float farthest(int64_t tile) const;
  const float* measure(int64_t tile, const Boxes& boxes, Range range,
                       std::vector<float>& out) const;
  bool any_reaches(int64_t tile, const Boxes& boxes, int64_t panel) const;
  double between_centres(int64_t tile, const Boxes& boxes, int64_t box) const;

  const Kernels& kernels_;
  int64_t dims_;
  std::vector<float> points_;   // [tile][dims][kMostTileQueries]
  std::vector<float> reaches_;  // [tile][kMostTileQueries]
  std::vector<float> lows_;     // of tiles, [tile][dims]
  std::vector<float> highs_;
  std::vector<float> to_clusters_;  // squared distances
  std::vector<float> to_panels_;
};

template <typename Visit>
void Reach::visit(int64_t tile, const Panels& panels, Range range, const Visit& visit_run) {
  constexpr int64_t kLength = Panels::kClusterPanels;
  const Range clusters{range.begin / kLength, divide_up(range.end, kLength)};
  const float* to_clusters = measure(tile, panels.cluster_boxes(), clusters, to_clusters_);
  Range run{range.begin, range.begin};
  float reach = farthest(tile);
  for (int64_t cluster = clusters.begin; cluster < clusters.end; ++cluster) {
    if (to_clusters[cluster - clusters.begin] > reach) continue;
    const Range inside{std::max(range.begin, cluster * kLength),
                       std::min(range.end, (cluster + 1) * kLength)};
    const float* to_panels = measure(tile, panels.boxes(), inside, to_panels_);
    for (int64_t panel = inside.begin; panel < inside.end; ++panel) {
      if (to_panels[panel - inside.begin] > reach) continue;
      if (!any_reaches(tile, panels.boxes(), panel)) continue;
      if (panel > run.end) {
        if (run.end > run.begin) {
          visit_run(run);
          reach = farthest(tile);  // a visit tightens thresholds
        }
        run.begin = panel;
      }
      run.end = panel + 1;
    }
  }
  if (run.end > run.begin) visit_run(run);
}

}  // namespace expansive
