#include "cpu/nearest.h"

#include <algorithm>
#include <cmath>

#include "cpu/prefetch.h"

namespace expansive {
namespace {

int64_t count_reaching(const CandidateList& list, float cutoff) {
  int32_t count = 0;
  for (int64_t i = 0; i < list.count; ++i) count += list.values[i] >= cutoff ? 1 : 0;
  return count;
}

// A value that at least `wanted` of the list's candidates reach, and few more unless they tie:
// bisection by counting, because counting has no branches to mispredict.
float find_cutoff(const CandidateList& list, int64_t wanted) {
  const auto [lowest, highest] = std::minmax_element(list.values, list.values + list.count);
  float low = *lowest, high = *highest;
  const int64_t enough = wanted + wanted / 8;
  for (int step = 0; step < 24; ++step) {
    const float middle = low + (high - low) * 0.5f;
    if (!(middle > low)) break;
    const int64_t count = count_reaching(list, middle);
    if (count < wanted) {
      high = middle;
      continue;
    }
    low = middle;
    if (count <= enough) break;
  }
  return low;
}

// Without branches: which candidates stay is hard to predict.
template <typename Keeps>
void keep_if(CandidateList& list, const Keeps& keeps) {
  int64_t kept = 0;
  for (int64_t i = 0; i < list.count; ++i) {
    list.values[kept] = list.values[i];
    list.columns[kept] = list.columns[i];
    kept += keeps(list.values[i], static_cast<int64_t>(list.columns[i])) ? 1 : 0;
  }
  list.count = kept;
}

// Rows lie anywhere in memory: ask for the next ones while one is measured.
size_t rows_ahead(const Rows& rows) {
  constexpr int64_t kBytesAhead = 6144;
  return static_cast<size_t>(
      std::clamp<int64_t>(kBytesAhead / (rows.d * size_of(rows.dtype)), 1, 32));
}

}  // namespace

Nearest::Nearest(const Database& database, Relation relation, int64_t k, Range own_class,
                 int64_t own_row)
    : database_(&database),
      relation_(relation),
      k_(k),
      own_class_(own_class),
      own_position_(own_row < 0 ? -1 : database.grouping.position(own_row)) {}

float Nearest::begin(const Panels& panels, const Image& worst) {
  panels_ = &panels;
  error_ = image_.error + worst.error;
  rests_ = image_.rest * worst.rest;
  found_before_ = found_;
  may_guess_ = true;
  lower_limit(limit_);
  guess_ = threshold_;
  return threshold_;
}

float Nearest::begin_again() {
  found_ = found_before_;
  may_guess_ = false;
  guess_ = threshold_;
  return threshold_;
}

float Nearest::make_room(CandidateList& list, const double* query, double seen) {
  drop_unrelated(list);
  prune(list);
  if (may_guess_) guess_ = std::max(guess_, guess(list, seen));
  drop_below(list, std::max(threshold_, guess_));
  if (4 * list.count > 3 * list.full) refine(list, query);
  guess_ = std::max(guess_, threshold_);
  return guess_;
}

bool Nearest::settle(CandidateList& list, const double* query) {
  drop_unrelated(list);
  prune(list);
  refine(list, query);
  return guess_ > threshold_;
}

void Nearest::drop_unrelated(CandidateList& list) const {
  const int64_t end = panels_->end();
  const bool wants_friends = relation_ == Relation::friendly;
  keep_if(list, [&](float, int64_t position) {
    const bool is_friend = position >= own_class_.begin && position < own_class_.end;
    const bool related = relation_ == Relation::any || is_friend == wants_friends;
    return related && position < end && position != own_position_;
  });
}

void Nearest::drop_below(CandidateList& list, float threshold) const {
  keep_if(list, [threshold](float value, int64_t) { return value >= threshold; });
}

void Nearest::prune(CandidateList& list) {
  if (list.count <= k_) return;
  const float cutoff = find_cutoff(list, k_);
  float largest = 0.0f;  // half norm of those that reach the cutoff
  for (int64_t i = 0; i < list.count; ++i) {
    const float half_norm = panels_->half_norm(list.columns[i]);
    largest = std::max(largest, list.values[i] >= cutoff ? half_norm : 0.0f);
  }
  lower_limit(database_->space.limit(image_.squared_norm, rests_, error_, cutoff, largest));
  drop_below(list, threshold_);
}

// A value that a share of the candidates seen so far reaches. Where images keep distances, as many
// as will make up, with a margin of three standard deviations and two, a whole pruned list (k
// candidates and those that the screen cannot tell from them). Where they do not, twice k: that
// pass through the database only finds rows near enough for a tight limit, and another follows.
float Nearest::guess(const CandidateList& list, double seen) const {
  const double expected = static_cast<double>(std::max(k_, list.count)) * seen;
  const double margin = std::ceil(expected + 3.0 * std::sqrt(expected) + 2.0);
  const bool keeps = database_->images.keeps_distances();
  const int64_t rank = keeps ? static_cast<int64_t>(margin) : 2 * k_;
  if (rank >= (keeps ? std::min(k_, list.count) : list.count)) return threshold_;
  return find_cutoff(list, rank);
}

// Measures the k best: they tell which of the others are worth the measuring.
void Nearest::refine_best(CandidateList& list, const double* query) {
  if (list.count <= k_) return;
  const float cutoff = find_cutoff(list, k_);
  measure(list, cutoff, query);
  keep_if(list, [&](float value, int64_t) { return value < cutoff && value >= threshold_; });
}

void Nearest::refine(CandidateList& list, const double* query) {
  refine_best(list, query);
  measure(list, threshold_, query);
  list.count = 0;
}

void Nearest::measure(const CandidateList& list, float from, const double* query) {
  thread_local std::vector<int64_t> rows;
  rows.clear();
  for (int64_t i = 0; i < list.count; ++i) {
    if (list.values[i] >= from) rows.push_back(database_->grouping.row(list.columns[i]));
  }
  const auto squared_distance = database_->kernels->refine[database_->dtype()];
  const size_t ahead = rows_ahead(database_->rows);
  for (size_t i = 0; i < std::min(ahead, rows.size()); ++i) prefetch_row(database_->rows, rows[i]);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i + ahead < rows.size()) prefetch_row(database_->rows, rows[i + ahead]);
    const double measured =
        squared_distance(query, database_->rows.row(rows[i]), database_->row_scale(rows[i]),
                         database_->rows.d, limit_);
    if (measured <= limit_) found_.push_back({measured, rows[i]});
  }
  keep_nearest();
}

void Nearest::keep_nearest() {
  const auto k = static_cast<size_t>(k_);
  if (found_.size() < k) return;
  std::nth_element(found_.begin(), found_.begin() + (k_ - 1), found_.end());
  found_.resize(k);
  lower_limit(found_.back().squared_distance);
}

void Nearest::lower_limit(double limit) {
  if (limit > limit_) return;
  limit_ = limit;
  threshold_ = database_->space.threshold(image_.squared_norm, error_, limit_);
}

const std::vector<Neighbor>& Nearest::sorted() {
  std::sort(found_.begin(), found_.end());
  return found_;
}

void Nearest::merge(const Nearest& other) {
  found_.insert(found_.end(), other.found_.begin(), other.found_.end());
  keep_nearest();
}

}  // namespace expansive
