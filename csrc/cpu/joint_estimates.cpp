#include "cpu/joint_estimates.h"

#include <algorithm>
#include <cstdint>

#include "cpu/integers.h"

namespace expansive {
namespace {

constexpr int64_t kPartBytes = 2 << 20;  // a cache holds them, beside what is read of the queries

// Whether so many rows are wanted that some are by several queries.
bool shares_rows(const Database& database, const std::vector<ToEstimate>& all) {
  if (!database.estimates_jointly()) return false;
  int64_t wanted = 0;
  for (const ToEstimate& one : all) wanted += one.candidates.count;
  return 2 * wanted > database.rows.n;
}

// Orders candidates by the part of `length` positions they lie in. Their values are not kept.
void order_by_part(const CandidateList& list, int64_t length, std::vector<int64_t>& starts) {
  thread_local std::vector<uint32_t> columns;
  columns.assign(list.columns, list.columns + list.count);
  std::fill(starts.begin(), starts.end(), 0);
  for (const uint32_t column : columns) ++starts[static_cast<size_t>(column / length) + 1];
  for (size_t part = 1; part < starts.size(); ++part) starts[part] += starts[part - 1];
  for (const uint32_t column : columns) {
    list.columns[starts[static_cast<size_t>(column / length)]++] = column;
  }
}

// The candidates from number `from` on that lie before position `end`.
CandidateList next_before(const CandidateList& list, int64_t from, int64_t end) {
  int64_t to = from;
  while (to < list.count && list.columns[to] < end) ++to;
  return {list.values + from, list.columns + from, to - from, to - from};
}

int64_t floats_of_query(const Database& database) { return round_up(database.rows.d, kMostFloats); }

}  // namespace

int64_t joint_estimate_bytes(const Database& database) {
  return database.estimates_jointly() ? floats_of_query(database) * 4 : 0;
}

void estimate_jointly(const Database& database, const std::vector<ToEstimate>& all,
                      Interrupt& interrupt, int worker) {
  if (!shares_rows(database, all)) {
    for (const ToEstimate& one : all) {
      interrupt.check(worker);
      one.nearest->estimate(one.candidates);
    }
    return;
  }
  const int64_t row_bytes = database.rows.d * size_of(database.rows.dtype);
  const int64_t length = std::max<int64_t>(1, kPartBytes / row_bytes);
  const int64_t parts = divide_up(database.rows.n, length), stride = floats_of_query(database);
  std::vector<int64_t> starts(static_cast<size_t>(parts) + 1), next(all.size(), 0);
  std::vector<float> queries(all.size() * static_cast<size_t>(stride));
  const auto query = [&](size_t i) { return queries.data() + static_cast<int64_t>(i) * stride; };
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].nearest->widen_to_float(query(i));
    order_by_part(all[i].candidates, length, starts);
  }
  for (int64_t part = 0; part < parts; ++part) {
    interrupt.check(worker);
    for (size_t i = 0; i < all.size(); ++i) {
      const CandidateList some = next_before(all[i].candidates, next[i], (part + 1) * length);
      all[i].nearest->estimate(some, query(i));
      next[i] += some.count;
    }
  }
}

}  // namespace expansive
