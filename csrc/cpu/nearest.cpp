#include "cpu/nearest.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace expansive {
namespace {

// How much looser a limit may be for being found sooner.
constexpr double kHardly = 1.0 + 0x1p-10;

// Whether little room is left.
bool is_crowded(const CandidateList& list) { return 4 * list.count > 3 * list.full; }

// Until the next of this thread.
CandidateList copy_of(const CandidateList& list) {
  thread_local OwnList copy;
  copy.count = 0;
  return copy.append(list);
}

RelatedColumns related_columns(Relation relation, const Range& own_class, int64_t own_position,
                               int64_t n) {
  const auto range = [](int64_t begin, int64_t end) {
    return ColumnRange{static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
  };
  const ColumnRange own = own_position < 0 ? range(0, 0) : range(own_position, own_position + 1);
  const ColumnRange friends = range(own_class.begin, own_class.end);
  if (relation == Relation::friendly) return {friends, {own, own}};
  return {range(0, n), {own, relation == Relation::enemy ? friends : own}};
}

}  // namespace

Nearest::Nearest(const SearchPlan& plan, int64_t query)
    : database_(&plan.database),
      query_(plan.scaled_query(query)),
      dtype_(plan.queries.rows.dtype),
      may_estimate_(plan.may_estimate()),
      jointly_(plan.estimates_jointly()),
      relation_(plan.relation),
      k_(plan.k),
      own_class_(plan.own_class(query)) {
  screen_.space = &plan.database.space;
  const int64_t own_row = plan.own_row(query);
  const int64_t own_position = own_row < 0 ? -1 : database_->grouping.position(own_row);
  related_ = related_columns(relation_, own_class_, own_position, database_->rows.n);
  if (database_->bytes) bytes_.space = &database_->bytes->space();
}

void Nearest::place(const Image& image, const uint8_t* byte_image, double byte_error) {
  screen_.image = image;
  bytes_.image = byte_image;
  bytes_.error = byte_error;
}

float Nearest::begin(const Panels& panels, const Image& worst) {
  panels_ = &panels;
  screen_.worst = worst;
  screen_.largest = round_up_to_float(0.5 * worst.squared_norm);
  found_before_ = found_;
  may_guess_ = bytes_.space == nullptr;
  lower_limit(limit_);
  guess_ = screen_.threshold;
  return guess_;
}

float Nearest::begin_again() {
  found_ = found_before_;
  may_guess_ = false;
  guess_ = screen_.threshold;
  return guess_;
}

float Nearest::make_room(CandidateList& list, double seen) {
  keep_related(list);
  if (bytes_.space != nullptr) {
    rescreen_best(list);
    if (is_crowded(list)) rescreen_all(list);
    if (kept_.count > kept_length(*database_, k_)) refine_kept();
  } else {
    if (may_guess_) {
      guess_ = std::max(guess_, guess(list, seen));
    } else {
      prune(list);
    }
    keep_from(list, std::max(guess_, screen_.threshold));
    lengthen(list);
    if (may_guess_ && is_crowded(list)) prune(list);
    if (is_crowded(list)) refine(list);
  }
  guess_ = std::max(guess_, screen_.threshold);
  return guess_;
}

// A list is short at first, so that the first guesses come soon; one that has not been emptied gets
// all of its length, and keeps it where candidates had better wait for those of other queries.
void Nearest::lengthen(CandidateList& list) const {
  const int64_t length = list_length(*database_, k_), longest = longest_list(k_, jointly_);
  if (is_crowded(list)) {
    list.full = std::min(longest, std::max(length, 2 * list.count));
  } else if (list.full < length || !jointly_) {
    list.full = std::min(length, list.full * 4 / 3);
  }
}

CandidateList Nearest::take_undecided(CandidateList& list) {
  keep_related(list);
  CandidateList undecided = list;
  if (bytes_.space != nullptr) {
    rescreen_all(list);
    undecided = kept_.all();
    kept_.count = 0;
  } else {
    prune(undecided);
  }
  list.count = 0;
  return undecided;
}

bool Nearest::has_guessed_too_much() const { return may_guess_ && guess_ > screen_.threshold; }

float Nearest::squared_reach() const {
  constexpr double kBoxRounding = 0x1p-18;  // of a box's distance, in float32
  const double squared = screen_.space->squared_reach(screen_.error(), limit_);
  return round_up_to_float(squared * (1.0 + kBoxRounding) + 0x1p-100);
}

void Nearest::keep_related(CandidateList& list) const {
  database_->kernels->keep_related(list, related_);
}

void Nearest::keep_from(CandidateList& list, float least) const {
  database_->kernels->keep_from(list, least);
}

float Nearest::find_cutoff(const CandidateList& list, int64_t wanted) const {
  return database_->kernels->find_cutoff(list.values, list.count, wanted);
}

// By the values of a screen and the norms (or errors) that belong to them, by column. The largest
// of all rows serves for all, unless it makes the limit much looser than none would.
template <typename Point>
void Nearest::prune(CandidateList& list, const Point& point, const float* norms) {
  if (list.count <= k_) return;
  const float cutoff = find_cutoff(list, k_);
  double limit = point.limit(cutoff, point.largest);
  if (!(limit <= point.limit(cutoff, 0.0f) * kHardly)) {
    limit = point.limit(cutoff, database_->kernels->largest_norm(list, cutoff, norms));
  }
  lower_limit(limit);
  keep_from(list, point.threshold);
}

void Nearest::prune(CandidateList& list) {
  prune(list, screen_, panels_->negated_half_norms() - panels_->first());
}

// Takes the best candidates of a list, which lowers the threshold, and drops those that do not
// reach it then. take(some) gets a copy of them, and takes nothing else meanwhile.
template <typename Take>
void Nearest::take_best(CandidateList& list, int64_t best, const float& threshold,
                        const Take& take) {
  if (list.count <= best) return;
  const float cutoff = find_cutoff(list, best);
  CandidateList some = copy_of(list);
  keep_from(some, cutoff);
  take(some);
  database_->kernels->keep_between(list, threshold, cutoff);
}

// Takes all candidates of a list that reach the threshold, the best first.
template <typename Take>
void Nearest::take_best_first(CandidateList& list, int64_t best, const float& threshold,
                              const Take& take) {
  take_best(list, best, threshold, take);
  keep_from(list, threshold);
  take(list);
  list.count = 0;
}

void Nearest::rescreen_best(CandidateList& list) {
  take_best(list, 2 * k_, screen_.threshold, [this](const CandidateList& some) { rescreen(some); });
}

// Moves what the second screen cannot exclude from the list to what is kept.
void Nearest::rescreen_all(CandidateList& list) {
  take_best_first(list, 2 * k_, screen_.threshold,
                  [this](const CandidateList& some) { rescreen(some); });
}

void Nearest::rescreen(const CandidateList& list) {
  thread_local std::vector<int64_t> slots, squared_steps;
  slots.resize(static_cast<size_t>(list.count));
  squared_steps.resize(slots.size());
  for (int64_t i = 0; i < list.count; ++i) {
    slots[static_cast<size_t>(i)] = panels_->slot(list.columns[i]);
  }
  database_->kernels->compare_bytes({bytes_.image, panels_->byte_images(), database_->image_bytes(),
                                     slots.data(), list.count, squared_steps.data()});
  const CandidateList some = kept_.append(list);
  for (int64_t i = 0; i < list.count; ++i) {
    some.values[i] = bytes_.space->value(squared_steps[static_cast<size_t>(i)],
                                         panels_->byte_error(some.columns[i]));
  }
  CandidateList kept = kept_.all();
  keep_from(kept, bytes_.threshold);
  prune(kept, bytes_, panels_->byte_errors() - panels_->first());
  kept_.count = kept.count;
}

// The threshold that there would be if the k-th nearest row were as near as a candidate of some
// rank: of the rank that rows seen so far should have among the k nearest of all, with a margin of
// two and a half standard deviations and two, but k at most: that is still tighter than what is
// certain of the k best so far, for errors seldom add up.
float Nearest::guess(const CandidateList& list, double seen) const {
  const double expected = static_cast<double>(k_) * seen;
  const double deviation = std::sqrt(expected * (1.0 - seen));
  const auto likely = static_cast<int64_t>(std::ceil(expected + 2.5 * deviation + 2.0));
  const int64_t rank = std::min(likely, k_);
  if (rank >= list.count) return screen_.threshold;
  return screen_.threshold_at(find_cutoff(list, rank));
}

void Nearest::refine(CandidateList& list) {
  if (!measure_some(list)) return;
  estimate(list);
  measure_estimated(list);
}

// By the threshold of the screen that the values are of. Of many more than k that it cannot tell
// from those, float32 can exclude most; of few more, finding the best takes longer than measuring
// all.
bool Nearest::measure_some(CandidateList& undecided) {
  constexpr int64_t kFewElements = 4096;
  const bool all_at_once = (undecided.count - k_) * (database_->rows.d + 32) <= kFewElements;
  const float& threshold = bytes_.space != nullptr ? bytes_.threshold : screen_.threshold;
  if (all_at_once || undecided.count <= 2 * k_ || !may_estimate_) {
    measure_best_first(undecided, all_at_once ? undecided.count : k_, threshold);
    return false;
  }
  const double* query = widen();
  take_best(undecided, k_, threshold,
            [this, query](const CandidateList& some) { measure(some, query); });
  return undecided.count > 0;
}

void Nearest::measure_estimated(CandidateList& estimated) {
  keep_from(estimated, estimates_.threshold);
  measure_best_first(estimated, k_, estimates_.threshold);
}

void Nearest::measure_best_first(CandidateList& list, int64_t best, const float& threshold) {
  if (list.count == 0) return;
  const double* query = widen();
  take_best_first(list, best, threshold,
                  [this, query](const CandidateList& some) { measure(some, query); });
}

void Nearest::refine_kept() {
  CandidateList kept = kept_.all();
  refine(kept);
  kept_.count = 0;
}

// The query in float64, padded with zeros to a multiple of 8; until the next of this thread.
const double* Nearest::widen() const {
  thread_local std::vector<double> widened;
  widened.resize(static_cast<size_t>(round_up(database_->rows.d, 8)));
  database_->kernels->widen[static_cast<int>(dtype_)](query_.data, query_.scale, database_->rows.d,
                                                      widened.data());
  return widened.data();
}

// The same in float32.
const float* Nearest::floats() const {
  thread_local std::vector<float> floats;
  floats.resize(static_cast<size_t>(database_->rows.d));
  to_floats(floats.data());
  return floats.data();
}

void Nearest::to_floats(float* out) const {
  database_->kernels->to_floats[static_cast<int>(dtype_)](query_.data, database_->rows.d, out);
}

void Nearest::look_at(Range positions) {
  const auto [from, end] = positions;
  if (relation_ == Relation::friendly) {
    look_at_related({std::max(from, own_class_.begin), std::min(end, own_class_.end)});
  } else {
    look_at_related({from, std::min(end, own_class_.begin)});
    look_at_related({std::max(from, own_class_.end), end});
  }
}

void Nearest::look_at_related(Range positions) {
  if (positions.begin >= positions.end) return;
  thread_local OwnList looked_at;
  CandidateList list = looked_at.room(positions.end - positions.begin);
  std::fill_n(list.values, list.count, 0.0f);
  std::iota(list.columns, list.columns + list.count, static_cast<uint32_t>(positions.begin));
  if (may_estimate_) {
    estimate(list, floats(), database_->grouping.rows().data() + positions.begin);
  }
  keep_related(list);
  measure_estimated(list);
}

void Nearest::estimate(const CandidateList& some) const {
  thread_local std::vector<uint32_t> rows;
  rows.resize(static_cast<size_t>(some.count));
  std::transform(some.columns, some.columns + some.count, rows.begin(), [this](uint32_t column) {
    return static_cast<uint32_t>(database_->grouping.row(column));
  });
  estimate(some, floats(), rows.data());
}

// The same, of the rows given.
void Nearest::estimate(const CandidateList& some, const float* query, const uint32_t* rows) const {
  database_->kernels->estimate_rows[database_->dtype()](
      {query, database_->rows.data, database_->rows.d, rows, some.count, some.values});
  for (int64_t i = 0; i < some.count; ++i) some.values[i] = -some.values[i];
}

void Nearest::measure(const CandidateList& list, const double* query) {
  thread_local Found found;
  found.assign(found_, list.count);
  int64_t* rows = found.rows.data() + found_.size();
  double* measured = found.squared_distances.data() + found_.size();
  std::transform(list.columns, list.columns + list.count, rows,
                 [this](uint32_t column) { return database_->grouping.row(column); });
  database_->kernels->refine_rows[database_->dtype()](
      {query, database_->rows.data, database_->rows.d,
       database_->row_scales.empty() ? nullptr : database_->row_scales.data(), rows, list.count,
       limit_, measured});
  int64_t near = 0;  // there are k within the limit, so the others need not be ordered
  for (int64_t i = 0; i < list.count; ++i) {
    rows[near] = rows[i];
    measured[near] = measured[i];
    near += measured[i] <= limit_ ? 1 : 0;
  }
  keep_nearest(found, found_.size() + static_cast<size_t>(near));
}

// Of the first n of some rows; as long as there is room for all, they are in no order.
void Nearest::keep_nearest(const Found& some, size_t n) {
  thread_local std::vector<Neighbor> nearest;
  const auto k = static_cast<size_t>(k_);
  nearest.resize(n);
  if (n <= k || !order_few(some, nearest)) {
    for (size_t i = 0; i < n; ++i) nearest[i] = {some.squared_distances[i], some.rows[i]};
    if (n > k) std::nth_element(nearest.begin(), nearest.begin() + (k_ - 1), nearest.end());
  }
  const auto end = nearest.begin() + static_cast<int64_t>(std::min(n, k));
  found_.assign(nearest.begin(), end);
  if (n < k) return;
  const auto farthest = n > k ? end - 1 : std::max_element(nearest.begin(), end);
  lower_limit(farthest->squared_distance);
}

// Puts each of some rows where it belongs among them; false, and nothing done, if they are many, or
// if some distances hardly differ, which keys do not tell apart.
bool Nearest::order_few(const Found& some, std::vector<Neighbor>& ordered) const {
  thread_local std::vector<int32_t> keys, ranks;
  const auto n = static_cast<int64_t>(ordered.size());
  if (n > database_->kernels->most_ranked) return false;
  keys.resize(ordered.size());
  ranks.resize(ordered.size());
  database_->kernels->find_ranks(some.squared_distances.data(), n, keys.data(), ranks.data());
  if (std::accumulate(ranks.begin(), ranks.end(), int64_t{0}) != n * (n - 1) / 2) return false;
  for (size_t i = 0; i < ordered.size(); ++i) {
    ordered[static_cast<size_t>(ranks[i])] = {some.squared_distances[i], some.rows[i]};
  }
  return true;
}

void Nearest::lower_limit(double limit) {
  if (!(limit <= limit_)) return;  // larger, or undefined
  limit_ = limit;
  screen_.lower(limit);
  if (bytes_.space != nullptr) bytes_.lower(limit);
  if (may_estimate_) estimates_.lower(limit, database_->rows.d);
}

const std::vector<Neighbor>& Nearest::sorted() {
  if (std::is_sorted(found_.begin(), found_.end())) return found_;
  thread_local Found found;
  found.assign(found_, 0);
  if (!order_few(found, found_)) std::sort(found_.begin(), found_.end());
  return found_;
}

void Nearest::merge(const Nearest& other) {
  Found both;
  both.assign(found_, static_cast<int64_t>(other.found_.size()));
  for (size_t i = 0; i < other.found_.size(); ++i) both.set(found_.size() + i, other.found_[i]);
  keep_nearest(both, both.rows.size());
}

}  // namespace expansive
