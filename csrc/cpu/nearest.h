// What is known of one query's nearest rows while the database goes by.
//
// Candidates come from the screen. When their list is full it is pruned: the k best candidates
// bound the k-th distance from above, and what cannot be below that bound is dropped. Only
// candidates that pruning cannot decide are refined, that is measured exactly; at the end the few
// left are, too.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/panels.h"

namespace expansive {

struct Neighbor {
  double squared_distance;
  int64_t row;

  friend bool operator<(const Neighbor& a, const Neighbor& b) {
    return a.squared_distance != b.squared_distance ? a.squared_distance < b.squared_distance
                                                    : a.row < b.row;
  }
};

// Candidates a list must hold beside one panel.
inline int64_t list_length(int64_t k) { return k + std::max<int64_t>(k, 64); }

class Nearest {
 public:
  // The query: its row in the caller's matrix, the positions of its class in the database (empty if
  // none), the database row it is (or -1).
  Nearest(const Database& database, Relation relation, int64_t k, Range own_class, int64_t own_row)
      : database_(&database), relation_(relation), k_(k), own_class_(own_class), own_row_(own_row) {
    found_.reserve(static_cast<size_t>(std::min(k, database.rows.n)));
  }

  // Where the query lies in the screen's space; its exact coordinates, padded to a multiple of 8.
  void place(const ScreenRow& image, double image_error);
  // Begin with another stretch of the database, whose image errors are at most `largest_error`.
  float begin(const Panels& panels, double largest_error);
  // The list is full: make room. Returns the new threshold.
  float make_room(CandidateList& list, const double* query);
  // The stretch is over: refine what is left. The list is empty then.
  void settle(CandidateList& list, const double* query);

  // The nearest rows, ascending; at most k.
  const std::vector<Neighbor>& sorted();
  // Takes in what another searcher of the same query found.
  void merge(const Nearest& other);

 private:
  bool qualifies(int64_t position) const;
  void drop_unrelated(CandidateList& list) const;
  void prune(CandidateList& list);
  void refine(CandidateList& list, const double* query);
  void insert(Neighbor neighbor);
  void lower_limit(double limit);

  const Database* database_;
  const Panels* panels_ = nullptr;
  Relation relation_;
  int64_t k_;
  Range own_class_;
  int64_t own_row_;
  double squared_norm_ = 0.0;
  double image_error_ = 0.0;
  double error_ = 0.0;  // of the query's image and of any row's in the stretch
  double limit_ = std::numeric_limits<double>::infinity();  // k-th squared distance, from above
  float threshold_ = -std::numeric_limits<float>::infinity();
  std::vector<Neighbor> found_;  // max-heap of the k nearest refined rows
};

}  // namespace expansive
