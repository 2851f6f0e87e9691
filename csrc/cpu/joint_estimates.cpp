#include "cpu/joint_estimates.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace expansive {
namespace {

// Which queries want each row: their numbers, row after row.
class Wanted {
 public:
  Wanted(int64_t n, const std::vector<ToEstimate>& all) : ends_(static_cast<size_t>(n)) {
    for (const ToEstimate& one : all) {
      const CandidateList& list = one.candidates;
      for (int64_t i = 0; i < list.count; ++i) ++ends_[list.columns[i]];
    }
    uint32_t before = 0;
    for (uint32_t& end : ends_) before += std::exchange(end, before);
    queries_.resize(before);
    for (size_t query = 0; query < all.size(); ++query) {
      const CandidateList& list = all[query].candidates;
      for (int64_t i = 0; i < list.count; ++i) {
        queries_[ends_[list.columns[i]]++] = static_cast<uint32_t>(query);
      }
    }
  }

  const uint32_t* begin(int64_t position) const {
    return queries_.data() + (position == 0 ? 0 : ends_[static_cast<size_t>(position) - 1]);
  }
  const uint32_t* end(int64_t position) const {
    return queries_.data() + ends_[static_cast<size_t>(position)];
  }

 private:
  std::vector<uint32_t> ends_;  // of each position's queries among all
  std::vector<uint32_t> queries_;
};

// Whether so many rows are wanted, and read slowly, that several queries had better share them.
bool share_rows(const SearchPlan& plan, const std::vector<ToEstimate>& all) {
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  int64_t wanted = 0;
  for (const ToEstimate& one : all) wanted += one.candidates.count;
  return plan.estimates_jointly() && 2 * wanted > plan.database.rows.n && wanted <= kMost;
}

// The rows as they pass by. Distances are the same from either end: a row takes the place of a
// query, and the queries those of rows.
class PassingRows {
 public:
  PassingRows(const Database& database, const std::vector<ToEstimate>& all)
      : database_(database),
        d_(database.rows.d),
        queries_(all.size() * static_cast<size_t>(d_)),
        row_(static_cast<size_t>(d_)),
        estimates_(all.size()) {
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].nearest->to_floats(queries_.data() + static_cast<int64_t>(i) * d_);
    }
  }

  // Estimates between the row at a position and some queries.
  const float* estimate(int64_t position, const uint32_t* queries, int64_t count) {
    database_.kernels->estimate_rows[static_cast<int>(DType::float32)](
        {row(position), queries_.data(), d_, queries, count, estimates_.data()});
    return estimates_.data();
  }

 private:
  // In float32; until the next.
  const float* row(int64_t position) {
    const void* row = database_.rows.row(database_.grouping.row(position));
    if (database_.rows.dtype == DType::float32) return static_cast<const float*>(row);
    database_.kernels->to_floats[database_.dtype()](row, d_, row_.data());
    return row_.data();
  }

  const Database& database_;
  int64_t d_;
  std::vector<float> queries_;
  std::vector<float> row_;
  std::vector<float> estimates_;
};

// Goes through the rows once.
void estimate_jointly(const Database& database, std::vector<ToEstimate>& all, Interrupt& interrupt,
                      int worker) {
  constexpr int64_t kBytesBetweenChecks = 4 << 20;  // of rows
  const int64_t row_bytes = database.rows.d * size_of(database.rows.dtype);
  const int64_t between_checks = std::max<int64_t>(1, kBytesBetweenChecks / row_bytes);
  const Wanted wanted(database.rows.n, all);
  PassingRows rows(database, all);
  for (ToEstimate& one : all) one.candidates.count = 0;  // `wanted` has them
  for (int64_t position = 0; position < database.rows.n; ++position) {
    if (position % between_checks == 0) interrupt.check(worker);
    const uint32_t* queries = wanted.begin(position);
    const int64_t count = wanted.end(position) - queries;
    if (count == 0) continue;
    const float* estimates = rows.estimate(position, queries, count);
    for (int64_t i = 0; i < count; ++i) {
      ToEstimate& one = all[queries[i]];
      if (-estimates[i] < one.nearest->least_estimate()) continue;
      one.candidates.values[one.candidates.count] = -estimates[i];
      one.candidates.columns[one.candidates.count++] = static_cast<uint32_t>(position);
    }
  }
}

}  // namespace

int64_t joint_estimate_bytes(const SearchPlan& plan, int64_t candidates) {
  if (!plan.estimates_jointly()) return 0;
  // A candidate's query; and there are at most twice as many rows, of each where its queries end.
  constexpr int64_t kOfCandidate = 4 + 2 * 4;
  return candidates * kOfCandidate + plan.database.rows.d * 4 +
         static_cast<int64_t>(sizeof(ToEstimate));
}

void make_estimates(const SearchPlan& plan, std::vector<ToEstimate>& all, Interrupt& interrupt,
                    int worker) {
  if (share_rows(plan, all)) return estimate_jointly(plan.database, all, interrupt, worker);
  for (const ToEstimate& one : all) {
    interrupt.check(worker);
    one.nearest->estimate(one.candidates);
  }
}

}  // namespace expansive
