#include "cpu/nearest.h"

#include <algorithm>
#include <numeric>

namespace expansive {
namespace {

// Sorts a list by value, best first.
void sort_by_value(CandidateList& list) {
  std::vector<std::pair<float, uint32_t>> entries(static_cast<size_t>(list.count));
  for (int64_t i = 0; i < list.count; ++i) {
    entries[static_cast<size_t>(i)] = {list.values[i], list.columns[i]};
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (int64_t i = 0; i < list.count; ++i) {
    list.values[i] = entries[static_cast<size_t>(i)].first;
    list.columns[i] = entries[static_cast<size_t>(i)].second;
  }
}

}  // namespace

void Nearest::place(const ScreenRow& image, double image_error) {
  squared_norm_ = image.squared_norm;
  image_error_ = image_error;
}

float Nearest::begin(const Panels& panels, double largest_error) {
  panels_ = &panels;
  error_ = image_error_ + largest_error;
  lower_limit(limit_);
  return threshold_;
}

float Nearest::make_room(CandidateList& list, const double* query) {
  drop_unrelated(list);
  prune(list);
  if (2 * list.count > list.full) refine(list, query);
  return threshold_;
}

void Nearest::settle(CandidateList& list, const double* query) {
  drop_unrelated(list);
  prune(list);
  refine(list, query);
}

bool Nearest::qualifies(int64_t position) const {
  if (position >= panels_->end()) return false;
  const bool is_friend = position >= own_class_.begin && position < own_class_.end;
  if (relation_ != Relation::any && is_friend != (relation_ == Relation::friendly)) return false;
  return database_->grouping.row(position) != own_row_;
}

void Nearest::drop_unrelated(CandidateList& list) const {
  int64_t kept = 0;
  for (int64_t i = 0; i < list.count; ++i) {
    if (!qualifies(list.columns[i])) continue;
    list.values[kept] = list.values[i];
    list.columns[kept++] = list.columns[i];
  }
  list.count = kept;
}

void Nearest::prune(CandidateList& list) {
  if (list.count < k_) return;
  sort_by_value(list);
  double limit = 0.0;
  for (int64_t i = 0; i < k_; ++i) {
    limit = std::max(limit, database_->space.upper_bound(squared_norm_, error_, list.values[i],
                                                         panels_->half_norm(list.columns[i])));
  }
  lower_limit(limit);
  while (list.count > 0 && list.values[list.count - 1] < threshold_) --list.count;
}

void Nearest::refine(CandidateList& list, const double* query) {
  sort_by_value(list);
  const auto measure = database_->kernels->refine[database_->dtype()];
  for (int64_t i = 0; i < list.count && list.values[i] >= threshold_; ++i) {
    const int64_t row = database_->grouping.row(list.columns[i]);
    insert({measure(query, database_->rows.row(row), database_->row_scale(row), database_->rows.d),
            row});
  }
  list.count = 0;
}

void Nearest::insert(Neighbor neighbor) {
  if (static_cast<int64_t>(found_.size()) == k_) {
    if (!(neighbor < found_.front())) return;
    std::pop_heap(found_.begin(), found_.end());
    found_.pop_back();
  }
  found_.push_back(neighbor);
  std::push_heap(found_.begin(), found_.end());
  if (static_cast<int64_t>(found_.size()) == k_) lower_limit(found_.front().squared_distance);
}

void Nearest::lower_limit(double limit) {
  limit_ = std::min(limit_, limit);
  threshold_ = database_->space.threshold(squared_norm_, error_, limit_);
}

const std::vector<Neighbor>& Nearest::sorted() {
  std::sort_heap(found_.begin(), found_.end());
  return found_;
}

void Nearest::merge(const Nearest& other) {
  for (const Neighbor& neighbor : other.found_) insert(neighbor);
}

}  // namespace expansive
