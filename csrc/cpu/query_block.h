// A block of queries on its way through the database: images packed in tiles, one candidate list
// and one set of nearest rows for each query. Used by one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/nearest.h"
#include "cpu/panels.h"

namespace expansive {

// What all blocks of one search have in common.
struct SearchPlan {
  const Database& database;
  const Queries& queries;
  const std::vector<double>& query_scales;  // reciprocal norms for cosine, else empty
  const std::vector<int64_t>& order;        // queries by class
  int64_t k;
  Relation relation;
};

class QueryBlock {
 public:
  // The queries order[first] to order[end - 1].
  QueryBlock(const SearchPlan& plan, int64_t first, int64_t end);

  // Scratch bytes of one query in a block.
  static int64_t bytes_per_query(const SearchPlan& plan);

  // Goes through panels [first_panel, end_panel) of a stretch; no image in it or before it is
  // worse than `worst`.
  void visit(const Panels& panels, int64_t first_panel, int64_t end_panel, const Images& worst,
             Interrupt& interrupt, int worker);

  void merge(const QueryBlock& other);

  int64_t size() const { return end_ - first_; }
  int64_t query(int64_t i) const { return plan_.order[static_cast<size_t>(first_ + i)]; }
  const std::vector<Neighbor>& nearest(int64_t i) {
    return nearest_[static_cast<size_t>(i)].sorted();
  }

 private:
  // Panels that may hold rows in the relation of some query of a tile: at most two runs.
  struct Runs {
    Range run[2];
  };

  void admit(int64_t i);
  void pack();
  void place(int64_t i, const Images& images, const uint32_t* words);
  double query_scale(int64_t i) const;
  const double* widen(int64_t i);
  Range own_class(int64_t i) const;
  Runs related_panels(int64_t tile, const Panels& panels, Range visited) const;
  static double share_seen(const Runs& runs, int64_t panel);
  void screen_all(const Panels& panels, Range visited, const std::vector<Runs>& runs,
                  Interrupt& interrupt, int worker);
  void screen(int64_t tile, const Panels& panels, Range run, const Runs& runs);
  bool settle(Interrupt& interrupt, int worker);
  bool any_active(int64_t tile) const;

  const SearchPlan& plan_;
  const Kernels& kernels_;
  int64_t first_;
  int64_t end_;
  int64_t tiles_;
  AlignedWords images_;            // [tile][word][query of the tile]
  AlignedWords rescreen_images_;   // [query][word]
  std::vector<float> thresholds_;  // kNever where there is no query, or it is settled
  std::vector<float> list_values_;
  std::vector<uint32_t> list_columns_;
  std::vector<CandidateList> lists_;
  std::vector<Nearest> nearest_;
  std::vector<double> widened_;  // one query in float64, padded to 8
};

}  // namespace expansive
