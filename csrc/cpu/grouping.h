// The database's rows in class order, so that a label relation is a set of contiguous ranges.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "expansive/check.h"
#include "expansive/neighbors.h"

namespace expansive {

// A run of positions [begin, end) in class order.
struct Range {
  int64_t begin;
  int64_t end;
};

class Grouping {
 public:
  Grouping(const int64_t* codes, int64_t n, int64_t n_classes)
      : order_(static_cast<size_t>(n)),
        position_(static_cast<size_t>(n)),
        start_(static_cast<size_t>(n_classes) + 1) {
    check(n < (int64_t{1} << 32) - 1024, "x has more than 2^32 - 1025 rows; split it");
    if (codes == nullptr) {
      std::iota(order_.begin(), order_.end(), uint32_t{0});
      position_ = order_;
      return;
    }
    for (int64_t i = 0; i < n; ++i) {
      if (codes[i] < 0 || codes[i] >= n_classes) {
        check(false, "row " + std::to_string(i) + " has the code " + std::to_string(codes[i]) +
                         "; codes are in [0, n_classes)");
      }
      ++start_[static_cast<size_t>(codes[i]) + 1];
    }
    for (size_t c = 1; c < start_.size(); ++c) start_[c] += start_[c - 1];
    std::vector<int64_t> next(start_.begin(), start_.end() - 1);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t position = next[static_cast<size_t>(codes[i])]++;
      order_[static_cast<size_t>(position)] = static_cast<uint32_t>(i);
      position_[static_cast<size_t>(i)] = static_cast<uint32_t>(position);
    }
  }

  int64_t n_classes() const { return static_cast<int64_t>(start_.size()) - 1; }
  int64_t size() const { return static_cast<int64_t>(order_.size()); }
  int64_t row(int64_t position) const { return order_[static_cast<size_t>(position)]; }
  int64_t position(int64_t row) const { return position_[static_cast<size_t>(row)]; }

  // All classes that have rows; one without codes.
  std::vector<Range> classes() const {
    if (start_.back() == 0) return {{0, size()}};
    std::vector<Range> found;
    for (size_t c = 1; c < start_.size(); ++c) {
      if (start_[c - 1] < start_[c]) found.push_back({start_[c - 1], start_[c]});
    }
    return found;
  }

  const std::vector<uint32_t>& rows() const { return order_; }
  // Puts rows at other positions, each within its class.
  void reorder(std::vector<uint32_t> rows) {
    order_ = std::move(rows);
    for (size_t p = 0; p < order_.size(); ++p) position_[order_[p]] = static_cast<uint32_t>(p);
  }

  // The positions of a class; none for code -1.
  Range class_range(int64_t code) const {
    if (code < 0) return {0, 0};
    return {start_[static_cast<size_t>(code)], start_[static_cast<size_t>(code) + 1]};
  }

 private:
  std::vector<uint32_t> order_;     // position -> row
  std::vector<uint32_t> position_;  // row -> position
  std::vector<int64_t> start_;      // class -> first position
};

}  // namespace expansive
