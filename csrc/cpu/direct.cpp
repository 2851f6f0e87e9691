#include "cpu/direct.h"

#include <algorithm>

#include "cpu/integers.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kPartBytes = 128 << 10;  // of rows
constexpr int64_t kLeastRows = 32;

std::vector<Nearest> begin(const SearchPlan& plan) {
  std::vector<Nearest> nearest;
  for (int64_t query = 0; query < plan.queries.rows.n; ++query) nearest.emplace_back(plan, query);
  return nearest;
}

}  // namespace

std::vector<Nearest> search_directly(const SearchPlan& plan, int threads, Interrupt& interrupt) {
  const Rows& rows = plan.database.rows;
  // At least k of them: after each part the k nearest so far are found again.
  const int64_t share = std::min(plan.k, divide_up(rows.n, int64_t{threads}));
  const int64_t length = std::max({kLeastRows, kPartBytes / (rows.d * size_of(rows.dtype)), share});
  const int64_t parts = divide_up(rows.n, length);
  // One for each thread, which all of them see: together they have seen everything.
  std::vector<std::vector<Nearest>> shares(static_cast<size_t>(std::min<int64_t>(threads, parts)),
                                           begin(plan));
  parallel_for(parts, threads, interrupt, [&](int64_t part, int worker) {
    for (Nearest& nearest : shares[static_cast<size_t>(worker)]) {
      interrupt.check(worker);
      nearest.look_at({part * length, std::min(rows.n, (part + 1) * length)});
    }
  });
  std::vector<Nearest> all = std::move(shares.front());
  for (size_t other = 1; other < shares.size(); ++other) {
    for (size_t i = 0; i < all.size(); ++i) all[i].merge(shares[other][i]);
  }
  return all;
}

}  // namespace expansive
