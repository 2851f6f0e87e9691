// Estimates for many queries at once.
//
// A query's candidates lie anywhere in memory, and where rows are long, reading them is most of
// what refining costs. So rows pass by in parts that stay in a cache, and what all queries want of
// a part is estimated before the next: a row is read from memory once for all of them. The
// estimates are the same as query by query.
#pragma once

#include <vector>

#include "cpu/nearest.h"
#include "expansive/interrupt.h"

namespace expansive {

// A query and what is to be estimated for it.
struct ToEstimate {
  Nearest* nearest;
  CandidateList candidates;
};

// Makes the values of all candidates estimates; may change their order.
void estimate_jointly(const Database& database, const std::vector<ToEstimate>& all,
                      Interrupt& interrupt, int worker);

// Scratch bytes of one query.
int64_t joint_estimate_bytes(const Database& database);

}  // namespace expansive
