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
      own_position_(own_row < 0 ? -1 : database.grouping.position(own_row)),
      screen_{&database.space},
      rescreen_{&database.rescreen_space} {}

void Nearest::place(const Images& images, const uint32_t* rescreen_image) {
  screen_.image = images.screen;
  rescreen_.image = images.rescreen;
  rescreen_image_ = rescreen_image;
}

float Nearest::begin(const Panels& panels, const Images& worst) {
  panels_ = &panels;
  screen_.face(worst.screen);
  rescreen_.face(worst.rescreen);
  found_before_ = found_;
  may_guess_ = true;
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

float Nearest::make_room(CandidateList& list, const double* query, double seen) {
  drop_unrelated(list);
  prune(list, screen_, panels_->negated_half_norms());
  if (may_guess_) guess_ = std::max(guess_, guess(list, seen));
  drop_below(list, std::max(screen_.threshold, guess_));
  if (4 * list.count > 3 * list.full) refine(list, query);
  guess_ = std::max(guess_, screen_.threshold);
  return guess_;
}

bool Nearest::settle(CandidateList& list, const double* query) {
  drop_unrelated(list);
  prune(list, screen_, panels_->negated_half_norms());
  refine(list, query);
  return guess_ > screen_.threshold;
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

// By the values of a screen and the half norms that belong to them.
void Nearest::prune(CandidateList& list, const ScreenPoint& point,
                    const float* negated_half_norms) {
  if (list.count <= k_) return;
  const float cutoff = find_cutoff(list, k_);
  const int64_t first = panels_->first();
  float largest = 0.0f;  // half norm of those that reach the cutoff
  for (int64_t i = 0; i < list.count; ++i) {
    const float half_norm = -negated_half_norms[list.columns[i] - first];
    largest = std::max(largest, list.values[i] >= cutoff ? half_norm : 0.0f);
  }
  lower_limit(point.limit(cutoff, largest));
  drop_below(list, point.threshold);
}

// Puts the second screen's values in place of the first's, and prunes by them.
void Nearest::rescreen(CandidateList& list) {
  constexpr int64_t kAhead = 6;
  const int64_t words = database_->images.rescreen_words();
  const float* norms = panels_->negated_rescreen_half_norms();
  const int64_t first = panels_->first();
  for (int64_t i = 0; i < std::min(kAhead, list.count); ++i) {
    prefetch(panels_->rescreen_image(list.columns[i]), words * 4);
  }
  for (int64_t i = 0; i < list.count; ++i) {
    if (i + kAhead < list.count) {
      prefetch(panels_->rescreen_image(list.columns[i + kAhead]), words * 4);
    }
    list.values[i] = norms[list.columns[i] - first] +
                     database_->kernels->rescreen(rescreen_image_,
                                                  panels_->rescreen_image(list.columns[i]), words);
  }
  drop_below(list, rescreen_.threshold);
  prune(list, rescreen_, norms);
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
  if (rank >= (keeps ? std::min(k_, list.count) : list.count)) return screen_.threshold;
  return find_cutoff(list, rank);
}

// Measures the k best: they tell which of the others are worth the measuring.
void Nearest::refine_best(CandidateList& list, const double* query, const ScreenPoint& point) {
  if (list.count <= k_) return;
  const float cutoff = find_cutoff(list, k_);
  measure(list, cutoff, query);
  keep_if(list, [&](float value, int64_t) { return value < cutoff && value >= point.threshold; });
}

void Nearest::refine(CandidateList& list, const double* query) {
  const bool rescreens = database_->images.rescreens();
  if (rescreens) rescreen(list);
  const ScreenPoint& point = rescreens ? rescreen_ : screen_;
  refine_best(list, query, point);
  measure(list, point.threshold, query);
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
  screen_.lower(limit);
  rescreen_.lower(limit);
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
