// A search for few queries, which packs nothing: every row of the relation is estimated in
// float32 (estimate.h), or measured at once where float32 does not hold it. Parts of the database
// stay in a cache while all queries see them.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/nearest.h"
#include "cpu/search_plan.h"

namespace expansive {

// Whether they are so few, and what is found fits a share of the memory.
inline bool may_search_directly(const SearchPlan& plan, const Resources& resources) {
  const int64_t n = plan.queries.rows.n, size = static_cast<int64_t>(sizeof(Neighbor));
  return n <= few_queries(plan.database.rows.dtype, plan.database.metric) &&
         plan.k <= resources.memory_budget / 4 / (n * resources.threads * size);
}

// What is nearest to each query, in the queries' own order.
std::vector<Nearest> search_directly(const SearchPlan& plan, int threads, Interrupt& interrupt);

}  // namespace expansive
