// What is known of one query's nearest rows while the database goes by.
//
// Candidates come from the screen. When their list is full it is pruned: the k best candidates
// bound the k-th distance from above (the limit), and what cannot be below it is dropped. Only
// candidates that pruning cannot decide are refined, that is measured exactly; at the end the few
// left are, too.
//
// To be handed fewer candidates, the screen may be given a guess: a threshold that from the rows
// seen so far very likely leaves k. When the end shows that it did not, the query asks to be
// screened again, then with a threshold that is certain.
#pragma once

#include <cstdint>
#include <limits>
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

// Candidates a list holds beside one panel. Between two prunings the threshold is stale, so a
// longer list means fewer prunings but more candidates; this is near the best of both.
inline int64_t list_length(int64_t k) { return 2 * k + 32; }

class Nearest {
 public:
  // The query: the positions of its class in the database (empty if none), and the database row it
  // is (or -1).
  Nearest(const Database& database, Relation relation, int64_t k, Range own_class, int64_t own_row);

  // Where the query lies in the screen's space.
  void place(const Image& image) { image_ = image; }

  // Begin with another stretch of the database; `worst` bounds the images of all up to its end.
  // Returns the screen's threshold.
  float begin(const Panels& panels, const Image& worst);
  // The list is full, with the given share of the stretch seen: make room. Returns the threshold to
  // go on with.
  float make_room(CandidateList& list, const double* query, double seen);
  // The stretch is over: refine what is left. True if some guess went too far: screen it all again,
  // from the threshold that `begin_again` returns.
  bool settle(CandidateList& list, const double* query);
  float begin_again();

  // The nearest rows, ascending; at most k.
  const std::vector<Neighbor>& sorted();
  // Takes in what another searcher of the same query found.
  void merge(const Nearest& other);

 private:
  void drop_unrelated(CandidateList& list) const;
  void drop_below(CandidateList& list, float threshold) const;
  void prune(CandidateList& list);
  float guess(const CandidateList& list, double seen) const;
  void refine(CandidateList& list, const double* query);
  void refine_best(CandidateList& list, const double* query);
  void measure(const CandidateList& list, float from, const double* query);
  void keep_nearest();
  void lower_limit(double limit);

  const Database* database_;
  const Panels* panels_ = nullptr;
  Relation relation_;
  int64_t k_;
  Range own_class_;
  int64_t own_position_;
  Image image_{0.0, 0.0, 0.0};
  double error_ = 0.0;  // of the query's image and of any row's so far
  double rests_ = 0.0;  // product of the query's rest and any row's so far
  double limit_ = std::numeric_limits<double>::infinity();
  float threshold_ = -std::numeric_limits<float>::infinity();  // certain, by the limit
  float guess_ = -std::numeric_limits<float>::infinity();      // the highest given out
  bool may_guess_ = true;
  std::vector<Neighbor> found_;         // the k nearest refined rows, the farthest last
  std::vector<Neighbor> found_before_;  // what it was when the stretch began
};

}  // namespace expansive
