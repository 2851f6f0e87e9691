// One search: the database, the queries, and what is asked of them.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/database.h"

namespace expansive {

// What all parts of one search have in common.
struct SearchPlan {
  const Database& database;
  const Queries& queries;
  const std::vector<double>& query_scales;  // reciprocal norms for cosine, else empty
  const std::vector<int64_t>& order;        // queries by class
  int64_t k;
  Relation relation;

  double query_scale(int64_t query) const {
    return query_scales.empty() ? 1.0 : query_scales[static_cast<size_t>(query)];
  }
  ScaledRow scaled_query(int64_t query) const {
    return {queries.rows.row(query), query_scale(query)};
  }
  // The database row a query is, or -1.
  int64_t own_row(int64_t query) const {
    return queries.own_rows == nullptr ? -1 : queries.own_rows[query];
  }
  // Positions of a query's class in the database; none where the relation asks for no class.
  Range own_class(int64_t query) const {
    if (relation == Relation::any) return {0, 0};
    return database.grouping.class_range(queries.codes[query]);
  }
  // Whether float32 holds the queries and the rows as they are.
  bool may_estimate() const {
    return queries.rows.dtype != DType::float64 && database.fits_floats();
  }
  bool estimates_jointly() const { return may_estimate() && database.estimates_jointly(); }
};

}  // namespace expansive
