// The order in which a search goes through panels: some at a time, from all over.
//
// Rows often lie in an order, by class (grouping.h) or by time, and the nearest lie together. Every
// other visit's panels come before those between them, and every fourth's before those, and so on
// (van der Corput's sequence): what has been seen at any time is spread evenly over what there is.
// So thresholds tighten early, and guesses from what has been seen hold (nearest.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/grouping.h"

namespace expansive {

// The first `count` numbers, spread evenly.
inline std::vector<int64_t> spread(int64_t count) {
  std::vector<int64_t> numbers{0};
  while (static_cast<int64_t>(numbers.size()) < count) {
    const size_t half = numbers.size();
    for (size_t i = 0; i < half; ++i) numbers.push_back(2 * numbers[i] + 1);
    for (size_t i = 0; i < half; ++i) numbers[i] *= 2;
  }
  const auto end = std::remove_if(numbers.begin(), numbers.end(),
                                  [count](int64_t number) { return number >= count; });
  numbers.erase(end, numbers.end());
  return numbers;
}

// All of some panels, `length` at a time; in their own order, or from all over.
inline std::vector<Range> visits(Range panels, int64_t length, bool in_order) {
  std::vector<Range> all;
  for (int64_t from = panels.begin; from < panels.end; from += length) {
    all.push_back({from, std::min(panels.end, from + length)});
  }
  if (in_order) return all;
  std::vector<Range> ordered;
  for (const int64_t i : spread(static_cast<int64_t>(all.size()))) {
    ordered.push_back(all[static_cast<size_t>(i)]);
  }
  return ordered;
}

}  // namespace expansive
