// A block of queries on its way through the database: images packed in tiles, one candidate list
// and one set of nearest rows for each query. Used by one thread at a time.
//
// Where panels have boxes, a tile first looks at the cluster of panels nearest to it, which makes
// its thresholds tight, and then only at panels whose boxes some query can reach.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/nearest.h"
#include "cpu/panels.h"
#include "cpu/query_images.h"
#include "cpu/reach.h"

namespace expansive {

class QueryBlock {
 public:
  // The batch's queries `first` to `end` - 1.
  QueryBlock(const SearchPlan& plan, const QueryImages& batch, int64_t first, int64_t end);

  // Scratch bytes of one query in a block.
  static int64_t bytes_per_query(const SearchPlan& plan);

  // Goes through panels [first_panel, end_panel) of a stretch with the half norms given; no image
  // in it or before it is worse than `worst`.
  void visit(const Panels& panels, const float* negated_half_norms, int64_t first_panel,
             int64_t end_panel, const Image& worst, Interrupt& interrupt, int worker);

  void merge(const QueryBlock& other);

  int64_t size() const { return end_ - first_; }
  int64_t query(int64_t i) const { return batch_.query(first_ + i); }
  const std::vector<Neighbor>& nearest(int64_t i) {
    return nearest_[static_cast<size_t>(i)].sorted();
  }

 private:
  using Runs = std::vector<Range>;

  // The panels of a stretch where rows may be related to a tile's queries, and how many of them the
  // tile has seen.
  struct Related {
    explicit Related(Runs panels);
    double share_seen(int64_t more) const;

    Runs runs;
    int64_t count = 0;
    int64_t seen = 0;
  };

  void admit(int64_t i);
  // Lets a query sit in a tile: its image is screened there, by that seat's threshold and list.
  void seat(int64_t i, int64_t seat);
  Nearest& seated(int64_t seat) {
    return nearest_[static_cast<size_t>(seated_[static_cast<size_t>(seat)])];
  }
  // Whether its query is not settled.
  bool is_active(int64_t seat) const;
  Range own_class(int64_t i) const { return plan_.own_class(query(i)); }
  int64_t tile_end(int64_t tile) const;
  Runs related_panels(int64_t tile, const Panels& panels, Range visited) const;
  void screen_all(const Panels& panels, Range visited, std::vector<Related>& related,
                  Interrupt& interrupt, int worker);
  void screen_related(int64_t tile, const Panels& panels, Range some, Related& related);
  void screen(int64_t tile, const Panels& panels, Range run, const Related& related);
  void make_room(int64_t seat, double seen);
  std::vector<int64_t> settle(Interrupt& interrupt, int worker);
  void screen_again(const std::vector<int64_t>& queries, const Panels& panels, Range visited,
                    Interrupt& interrupt, int worker);
  void screen_nearest(int64_t tile, const Panels& panels, Related& related);
  void set_threshold(int64_t seat, float threshold);

  const SearchPlan& plan_;
  const QueryImages& batch_;
  const Kernels& kernels_;
  const float* negated_half_norms_ = nullptr;  // of the stretch that passes by
  int64_t first_;
  int64_t end_;
  int64_t tiles_;
  // By seat, `tile_queries` in a tile; query i has seat i, unless it is screened again.
  AlignedWords images_;            // [tile][word][seat of the tile]
  std::vector<float> thresholds_;  // kNever where there is no query, or it is settled
  std::vector<float> list_values_;
  std::vector<uint32_t> list_columns_;
  std::vector<CandidateList> lists_;
  std::vector<int64_t> seated_;  // which query
  Reach reach_;
  std::vector<Nearest> nearest_;  // by query
};

}  // namespace expansive
