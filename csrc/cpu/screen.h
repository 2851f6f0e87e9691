// The screen: a register-blocked product of one tile of queries with packed panels of the database,
// fused with the comparison that throws away what cannot be near. The distance matrix never exists.
//
// Value of a pair: v = <q, b> - h_b, with h_b the (deflated) half squared norm of b; v >= threshold
// of q is necessary for b to be among q's nearest (docs/exactness.md). Accumulators start at -h_b
// and run over all words of an image (an element, or a pair) in registers.
// Cost: tile_queries * panel_columns * words multiply-adds a panel; the panel group stays in L2,
// the query tile in L1; the epilogue is one comparison for each accumulator. Out of scope: which
// panels to visit (query_block.cpp), thresholds (screen_space.h) and exact distances (nearest.cpp).
#pragma once

#include "cpu/isa.h"

namespace expansive {
namespace {

// Of the queries of a tile given by their bits, appends what reaches the query's threshold to its
// list. True if a list is full.
template <int kTileQueries, int kVectors>
bool collect(const ScreenTask& task, int64_t panel, const Sum* sums, uint32_t queries) {
  bool full = false;
  const uint32_t first =
      task.column_offset + static_cast<uint32_t>(panel * kVectors * Vector::kWidth);
  for (; queries != 0; queries &= queries - 1) {
    const int q = __builtin_ctz(queries);
    CandidateList& list = task.lists[q];
    for (int v = 0; v < kVectors; ++v) {
      const Vector values = values_of(sums[q * kVectors + v]);
      const Numbers numbers = numbers_from(first + static_cast<uint32_t>(v * Vector::kWidth));
      list.count += append_lanes(values, numbers, lanes_at_least(values, task.thresholds[q]),
                                 list.values + list.count, list.columns + list.count);
    }
    full = full || list.count >= list.full;
  }
  return full;
}

// The thresholds of a tile's queries, as its sums are compared with them.
template <int kTileQueries>
struct Bounds {
  explicit Bounds(const float* thresholds) {
    for (int q = 0; q < kTileQueries; ++q) of[q] = bound_of(thresholds[q]);
  }
  Bound of[kTileQueries];
};

// The lanes of one query in which some of its sums reaches its threshold.
template <int kVectors>
[[gnu::always_inline]] inline auto lanes_near(const Sum* sums, Bound bound) {
  Sum best = sums[0];
  for (int v = 1; v < kVectors; ++v) best = larger(best, sums[v]);
  return lanes_reaching(best, bound);
}

// Whether some query of the tile has a column that reaches its threshold.
template <int kTileQueries, int kVectors>
inline bool any_near(const Bounds<kTileQueries>& bounds, const Sum (&sum)[kTileQueries][kVectors]) {
  auto lanes = lanes_near<kVectors>(sum[0], bounds.of[0]);
  for (int q = 1; q < kTileQueries; ++q) {
    lanes = either(lanes, lanes_near<kVectors>(sum[q], bounds.of[q]));
  }
  return any_lane(lanes);
}

// Which of them have one, as bits.
template <int kTileQueries, int kVectors>
uint32_t queries_near(const Bounds<kTileQueries>& bounds, const Sum* sums) {
  uint32_t queries = 0;
  for (int q = 0; q < kTileQueries; ++q) {
    const auto lanes = lanes_near<kVectors>(sums + q * kVectors, bounds.of[q]);
    queries |= (any_lane(lanes) ? 1u : 0u) << q;
  }
  return queries;
}

// Adds the products of some words to the sums of a tile, and goes on past these words. The loops
// over a tile have constant lengths and are unrolled whole: sums are registers.
template <int kTileQueries, int kVectors, typename AnySum>
[[gnu::always_inline]] inline void multiply_words(const uint32_t*& query, const uint32_t*& columns,
                                                  int64_t words,
                                                  AnySum (&sum)[kTileQueries][kVectors]) {
  constexpr int kColumns = kVectors * Vector::kWidth;
  for (int64_t j = 0; j < words; ++j, columns += kColumns, query += kTileQueries) {
    Column column[kVectors];
    for (int v = 0; v < kVectors; ++v) column[v] = load_column(columns + v * Vector::kWidth);
    for (int q = 0; q < kTileQueries; ++q) {
      for (int v = 0; v < kVectors; ++v) sum[q][v] = multiply_add(query[q], column[v], sum[q][v]);
    }
  }
}

// What every sum for a vector of columns starts at.
template <int kTileQueries, int kVectors, typename AnySum>
[[gnu::always_inline]] inline void start_at(AnySum start, int v,
                                            AnySum (&sum)[kTileQueries][kVectors]) {
  for (int q = 0; q < kTileQueries; ++q) sum[q][v] = start;
}

// What the sums of a panel start at, for its v-th vector of columns.
inline Sum start_of(const float* negated_half_norms, int v) {
  return start_sum(load_vector(negated_half_norms + v * Vector::kWidth));
}

// sum_panel(query, columns, negated_half_norms, sum) makes the sums of a panel.
template <int kTileQueries, int kVectors, typename SumPanel>
[[gnu::always_inline]] inline int64_t screen_panels(const ScreenTask& task,
                                                    const SumPanel& sum_panel) {
  constexpr int kColumns = kVectors * Vector::kWidth;
  const Bounds<kTileQueries> bounds(task.thresholds);
  for (int64_t panel = task.first_panel; panel < task.end_panel; ++panel) {
    Sum sum[kTileQueries][kVectors];
    sum_panel(task.queries, task.panels + panel * task.words * kColumns,
              task.negated_half_norms + panel * kColumns, sum);
    // Most panels hold nothing near: one branch for the whole tile says so.
    if (!any_near<kTileQueries, kVectors>(bounds, sum)) continue;
    Sum sums[kTileQueries * kVectors];
    for (int q = 0; q < kTileQueries; ++q) {
      for (int v = 0; v < kVectors; ++v) sums[q * kVectors + v] = sum[q][v];
    }
    const uint32_t queries = queries_near<kTileQueries, kVectors>(bounds, sums);
    if (collect<kTileQueries, kVectors>(task, panel, sums, queries)) return panel + 1;
  }
  return task.end_panel;
}

template <int kTileQueries, int kVectors>
int64_t screen(const ScreenTask& task) {
  return screen_panels<kTileQueries, kVectors>(
      task, [&](const uint32_t* query, const uint32_t* columns, const float* negated_half_norms,
                Sum(&sum)[kTileQueries][kVectors]) {
        for (int v = 0; v < kVectors; ++v) start_at(start_of(negated_half_norms, v), v, sum);
        multiply_words(query, columns, task.words, sum);
      });
}

}  // namespace
}  // namespace expansive
