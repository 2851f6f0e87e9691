// Passes over a candidate list without branches to mispredict, in whole vectors: by lanes, or as
// the compiler makes them.
#pragma once

#include <cmath>

#include "cpu/isa.h"

namespace expansive {
namespace {

static_assert(Vector::kWidth <= kSpareCandidates);

// Keeps the candidates whose lanes choose(values, numbers) names, in their order.
template <typename Choose>
inline void keep_lanes(CandidateList& list, const Choose& choose) {
  int64_t kept = 0;
  for (int64_t i = 0; i < list.count; i += Vector::kWidth) {
    const int64_t left = list.count - i;
    const uint32_t listed = left < Vector::kWidth ? (1u << left) - 1u : (1u << Vector::kWidth) - 1u;
    const Vector values = load_vector(list.values + i);
    const Numbers numbers = load_numbers(list.columns + i);
    kept += append_lanes(values, numbers, choose(values, numbers) & listed, list.values + kept,
                         list.columns + kept);
  }
  list.count = kept;
}

// Those with values of at least `least`.
inline void keep_from(CandidateList& list, float least) {
  keep_lanes(list, [least](Vector values, Numbers) { return lanes_at_least(values, least); });
}

// The same, but below `end`.
inline void keep_between(CandidateList& list, float least, float end) {
  keep_lanes(list, [least, end](Vector values, Numbers) {
    return lanes_at_least(values, least) & ~lanes_at_least(values, end);
  });
}

inline void keep_related(CandidateList& list, const RelatedColumns& related) {
  keep_lanes(list, [&related](Vector, Numbers numbers) {
    const auto within = [numbers](const ColumnRange& range) {
      return lanes_within(numbers, range.begin, range.end);
    };
    return within(related.all) & ~within(related.but[0]) & ~within(related.but[1]);
  });
}

struct ValueRange {
  float least;
  float most;
};

// Of at least one value.
inline ValueRange range_of(const float* values, int64_t count) {
  constexpr int64_t kWidth = Vector::kWidth;
  ValueRange range = {values[0], values[0]};
  const auto include = [&range](const float* some, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      range.least = some[i] < range.least ? some[i] : range.least;
      range.most = some[i] > range.most ? some[i] : range.most;
    }
  };
  if (count < kWidth) {
    include(values, count);
    return range;
  }
  Vector low = load_vector(values + count - kWidth), high = low;
  for (int64_t i = 0; i < count - kWidth; i += kWidth) {
    low = smaller(low, load_vector(values + i));
    high = larger(high, load_vector(values + i));
  }
  float lanes[2 * kWidth];
  store_vector(lanes, low);
  store_vector(lanes + kWidth, high);
  include(lanes, 2 * kWidth);
  return range;
}

// A value that at least `wanted` of `count` values reach, and few more unless they tie: bisection
// by counting. `count` is at least one, and kSpareCandidates more can be read.
inline float find_cutoff(const float* values, int64_t count, int64_t wanted) {
  auto [low, high] = range_of(values, count);
  const int64_t enough = wanted + wanted / 8;
  for (int step = 0; step < 24; ++step) {
    const float middle = low + (high - low) * 0.5f;
    if (!(middle > low)) break;
    const int64_t reaching = count_from(values, count, middle);
    if (reaching < wanted) {
      high = middle;
      continue;
    }
    low = middle;
    if (reaching <= enough) break;
  }
  return low;
}

constexpr int64_t kMostRanked = 128 * Vector::kWidth;

// The largest of some numbers; 0 if none is above it.
inline double largest_of(const double* values, int64_t count) {
  constexpr int64_t kAtOnce = 16;
  double lanes[kAtOnce] = {};
  const auto include = [&lanes](const double* some, int64_t many) {
    for (int64_t i = 0; i < many; ++i) lanes[i] = some[i] > lanes[i] ? some[i] : lanes[i];
  };
  int64_t from = 0;
  for (; from + kAtOnce <= count; from += kAtOnce) include(values + from, kAtOnce);
  include(values + from, count - from);
  double largest = 0.0;
  for (const double lane : lanes) largest = lane > largest ? lane : largest;
  return largest;
}

// Numbers of 30 bits in the order of the values, of which none is below zero; values that differ by
// less than a billionth of the largest may share one. All are zero where the largest is extreme.
inline void make_keys(const double* values, int64_t count, int32_t* keys) {
  const double largest = largest_of(values, count);
  const bool is_extreme = !(largest > 0x1p-900 && largest < 0x1p900);
  const double scale = is_extreme ? 0.0 : 0x1p30 / largest;
  for (int64_t i = 0; i < count; ++i) {
    keys[i] = is_extreme ? 0 : static_cast<int32_t>(values[i] * scale);
  }
}

// How many of `count` values have a lesser key than each. Quadratic, but in vectors: up to so many
// it is quicker than sorting.
inline void find_ranks(const double* values, int64_t count, int32_t* keys, int32_t* ranks) {
  constexpr int64_t kAtOnce = 16;  // counters in a register or a few
  make_keys(values, count, keys);
  for (int64_t from = 0; from < count; from += kAtOnce) {
    const int64_t many = count - from < kAtOnce ? count - from : kAtOnce;
    int32_t own[kAtOnce] = {}, less[kAtOnce] = {};
    for (int64_t i = 0; i < many; ++i) own[i] = keys[from + i];
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t i = 0; i < kAtOnce; ++i) less[i] += keys[j] < own[i] ? 1 : 0;
    }
    for (int64_t i = 0; i < many; ++i) ranks[from + i] = less[i];
  }
}

// The largest magnitude of norms[column] among candidates that reach the cutoff.
inline float largest_norm(const CandidateList& list, float cutoff, const float* norms) {
  float largest = 0.0f;
  for (int64_t i = 0; i < list.count; ++i) {
    const float every =
        std::fabs(norms[list.columns[i]]);  // also where it is not wanted: no branch
    const float norm = list.values[i] >= cutoff ? every : 0.0f;
    largest = norm > largest ? norm : largest;
  }
  return largest;
}

}  // namespace
}  // namespace expansive
