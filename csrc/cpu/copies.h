// Rows that stand many times in the database, as rows of zeros do. Copies are equally far from
// every query and only the first k + 1 of a class can be among the k nearest, one of them perhaps
// being the query itself. The others are hidden from the screen, so that a search does not have to
// tell thousands of ties apart by their row numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/elements.h"
#include "cpu/grouping.h"
#include "expansive/interrupt.h"
#include "expansive/rows.h"

namespace expansive {

class Copies {
 public:
  Copies() = default;
  // Looks for rows that make up about a percent of a sample, and only then at all rows.
  Copies(const Rows& rows, const Grouping& grouping, int threads, Interrupt& interrupt);

  bool empty() const { return groups_.empty(); }
  // Whether some row cannot be among the `k` nearest of any query.
  bool any_hidden(int64_t k) const { return k < most_ - 1; }

  // Hides such rows in the half norms of the positions from `first` on.
  void hide(int64_t k, const Grouping& grouping, const Elements& elements, int64_t first,
            std::vector<float>& negated_half_norms) const;

 private:
  std::vector<std::vector<uint32_t>> groups_;  // rows of a class that are equal, ascending
  int64_t most_ = 0;                           // in the largest group
};

}  // namespace expansive
