// What is known of one query's nearest rows while the database goes by.
//
// Candidates come from the screen. At the end, and when their list is full, it is pruned: the k
// best candidates bound the k-th distance from above (the limit), and what cannot be below it is
// dropped. Only candidates that pruning cannot decide are refined, that is measured exactly. Where
// the screen sees rows cut to a few directions, what it lets pass is screened again by byte images
// of all features, the best first: the others wait, and many are dropped by the threshold that
// those lower. What bytes cannot decide is kept to be refined at the end.
//
// To be handed fewer candidates, the screen may be given a guess: a threshold that from the rows
// seen so far very likely leaves k. As long as it empties the list, there is no need to prune. When
// the end shows that it left too few, the query asks to be screened again, then with a threshold
// that is certain.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/panels.h"
#include "cpu/search_plan.h"

namespace expansive {

struct Neighbor {
  double squared_distance;
  int64_t row;

  friend bool operator<(const Neighbor& a, const Neighbor& b) {
    return a.squared_distance != b.squared_distance ? a.squared_distance < b.squared_distance
                                                    : a.row < b.row;
  }
};

// Rows that have been measured, in no order.
struct Found {
  std::vector<double> squared_distances;
  std::vector<int64_t> rows;

  void set(size_t i, const Neighbor& neighbor) {
    squared_distances[i] = neighbor.squared_distance;
    rows[i] = neighbor.row;
  }
  // What is given, and room for more.
  void assign(const std::vector<Neighbor>& some, int64_t more) {
    const size_t n = some.size() + static_cast<size_t>(more);
    squared_distances.resize(n);
    rows.resize(n);
    for (size_t i = 0; i < some.size(); ++i) set(i, some[i]);
  }
};

// How many candidates a list holds, at its longest and at first; its storage has room for a panel
// and kSpareCandidates more. Between two guesses the threshold is stale, so a longer list means
// fewer guesses but more candidates; this is near the best of both. Candidates to be screened
// again are many and cheap.
inline int64_t list_length(const Database& database, int64_t k) {
  return database.bytes ? 4 * k + 472 : 2 * k + 32;
}
// Where the screen cannot tell candidates apart, more of them are estimated at a time; where
// reading rows is slow, all of them at the end, jointly with those of other queries
// (joint_estimates.h).
inline int64_t longest_list(int64_t k, bool jointly) {
  constexpr int64_t kLong = 16384;
  const int64_t at_a_time = 4 * k + 472;
  return jointly ? std::max(at_a_time, std::min(16 * k + 472, kLong)) : at_a_time;
}
inline int64_t first_list_length(const Database& database, int64_t k) {
  constexpr int64_t kShort = 32;
  return database.bytes ? list_length(database, k) : kShort;
}

// Candidates that the second screen may keep between two rounds of refinement.
inline int64_t kept_length(const Database& database, int64_t k) {
  return database.bytes ? 4 * k + 64 : 0;
}

// Candidates in memory of their own.
struct OwnList {
  std::vector<float> values;
  std::vector<uint32_t> columns;
  int64_t count = 0;

  CandidateList all() { return {values.data(), columns.data(), count, count}; }
  // Room for `more` after those that are there, not yet among them. Ends what was given out before.
  CandidateList room(int64_t more) {
    const auto needed = static_cast<size_t>(count + more + kSpareCandidates);
    if (columns.size() < needed) {  // the last to grow: memory may run out between the two
      values.reserve(needed);       // and no more: it is counted
      columns.reserve(needed);
      values.resize(needed);
      columns.resize(needed);
    }
    return {values.data() + count, columns.data() + count, more, more};
  }
  // Puts a copy of a list after those that are there. Where it stands.
  CandidateList append(const CandidateList& list) {
    CandidateList some = room(list.count);
    std::copy_n(list.values, list.count, some.values);
    std::copy_n(list.columns, list.count, some.columns);
    count += list.count;
    return some;
  }
};

// Where a query lies in the screen's space, and what it can exclude there.
struct ScreenPoint {
  const ScreenSpace* space = nullptr;
  Image image;
  Image worst;           // of any row so far
  float largest = 0.0f;  // half norm of any row's image so far, at least
  float threshold = -std::numeric_limits<float>::infinity();

  // An upper bound on the error of a pair's distance.
  double error() const { return image.error + worst.error; }
  void lower(double limit) { threshold = space->threshold(image, worst, limit); }
  // A guess, not a bound: the threshold if the k-th nearest row had this screen value.
  float threshold_at(float value) const {
    return space->threshold(image, worst, space->about(image, worst, value));
  }
  double limit(float value, float half_norm) const {
    return space->limit(image, worst, value, half_norm);
  }
};

// The same for byte images.
struct BytePoint {
  // Errors of bytes differ too much for the largest to serve for all.
  static constexpr float largest = std::numeric_limits<float>::infinity();

  const ByteSpace* space = nullptr;
  const uint8_t* image = nullptr;
  double error = 0.0;  // of the query's image
  float threshold = -std::numeric_limits<float>::infinity();

  void lower(double limit) { threshold = space->threshold(error, limit); }
  double limit(float value, float row_error) const { return space->limit(error, value, row_error); }
};

// The same for estimates in float32: values are minus squared distances.
struct EstimatePoint {
  float threshold = -std::numeric_limits<float>::infinity();

  void lower(double limit, int64_t d) { threshold = -estimate_reach(limit, d); }
};

class Nearest {
 public:
  Nearest(const SearchPlan& plan, int64_t query);

  // The query's images; the byte image, if there is one, is kept by the caller.
  void place(const Image& image, const uint8_t* byte_image, double byte_error);

  // Begin with another stretch of the database; `worst` bounds the images of all up to its end.
  // Returns the screen's threshold.
  float begin(const Panels& panels, const Image& worst);
  // Make room in a list, with the given share of the stretch seen. Returns the threshold to go on
  // with.
  float make_room(CandidateList& list, double seen);
  // The stretch is over: empties a list, and gives what must be refined. Until `make_room` is next
  // called.
  CandidateList take_undecided(CandidateList& list);
  // Measures the best of them, or all. True if some are left, which are to be estimated first.
  bool measure_some(CandidateList& undecided);
  // The query in float32, d of them.
  void to_floats(float* out) const;
  // Makes the values of some candidates estimates, negated: no neighbour's is below the least.
  void estimate(const CandidateList& some) const;
  float least_estimate() const { return estimates_.threshold; }
  // Measures what may be near by estimates.
  void measure_estimated(CandidateList& estimated);
  // Some guess went too far: screen it all again, from the threshold that `begin_again` returns.
  bool has_guessed_too_much() const;
  float begin_again();

  // Instead of all that, for the rows at some positions: estimates those that are related, and
  // measures those that may be near.
  void look_at(Range positions);

  // No panel whose box is farther than the root of this, in float32, has a row within the limit.
  float squared_reach() const;

  // The nearest rows, ascending; at most k.
  const std::vector<Neighbor>& sorted();
  // Takes in what another searcher of the same query found.
  void merge(const Nearest& other);

 private:
  void look_at_related(Range positions);
  void keep_related(CandidateList& list) const;
  void keep_from(CandidateList& list, float least) const;
  float find_cutoff(const CandidateList& list, int64_t wanted) const;
  void prune(CandidateList& list);
  template <typename Point>
  void prune(CandidateList& list, const Point& point, const float* norms);
  void lengthen(CandidateList& list) const;
  template <typename Take>
  void take_best(CandidateList& list, int64_t best, const float& threshold, const Take& take);
  template <typename Take>
  void take_best_first(CandidateList& list, int64_t best, const float& threshold, const Take& take);
  void rescreen_best(CandidateList& list);
  void rescreen_all(CandidateList& list);
  void rescreen(const CandidateList& list);
  float guess(const CandidateList& list, double seen) const;
  void refine(CandidateList& list);
  void refine_kept();
  void estimate(const CandidateList& some, const float* query, const uint32_t* rows) const;
  void measure_best_first(CandidateList& list, int64_t best, const float& threshold);
  const double* widen() const;
  const float* floats() const;
  void measure(const CandidateList& list, const double* query);
  void keep_nearest(const Found& some, size_t n);
  bool order_few(const Found& some, std::vector<Neighbor>& ordered) const;
  void lower_limit(double limit);

  const Database* database_;
  ScaledRow query_;
  DType dtype_;
  bool may_estimate_;
  bool jointly_;
  const Panels* panels_ = nullptr;  // none where rows are looked at as they are
  Relation relation_;
  int64_t k_;
  Range own_class_;
  RelatedColumns related_;
  ScreenPoint screen_;
  BytePoint bytes_;
  EstimatePoint estimates_;
  OwnList kept_;  // what the second screen could not decide
  double limit_ = std::numeric_limits<double>::infinity();
  float guess_ = -std::numeric_limits<float>::infinity();  // the highest threshold given out
  bool may_guess_ = true;  // false: all thresholds are certain, `settle` asks for no second pass
  std::vector<Neighbor> found_;         // the k nearest refined rows, in no order
  std::vector<Neighbor> found_before_;  // what it was when the stretch began
};

}  // namespace expansive
