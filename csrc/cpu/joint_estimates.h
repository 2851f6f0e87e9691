// Estimates for many queries at once.
//
// A query's candidates lie anywhere in memory, and where rows are long, reading them is most of
// what refining costs. So rows pass by in their order, and each is compared with all queries of a
// block that want it, which a cache holds: a row is read from memory once for all of them.
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

// Makes the values of all candidates estimates, jointly if that pays; may drop those that an
// estimate excludes.
void make_estimates(const SearchPlan& plan, std::vector<ToEstimate>& all, Interrupt& interrupt,
                    int worker);

// Scratch bytes of a query with so many candidates.
int64_t joint_estimate_bytes(const SearchPlan& plan, int64_t candidates);

}  // namespace expansive
