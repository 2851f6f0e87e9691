// Passes over a candidate list without branches to mispredict; the compiler vectorises them.
#pragma once

#include <cmath>

#include "cpu/isa.h"

namespace expansive {
namespace {

// A value that at least `wanted` of `count` values reach, and few more unless they tie: bisection
// by counting. `count` is at least one.
inline float find_cutoff(const float* values, int64_t count, int64_t wanted) {
  float low = values[0], high = values[0];
  for (int64_t i = 1; i < count; ++i) {
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  const int64_t enough = wanted + wanted / 8;
  for (int step = 0; step < 24; ++step) {
    const float middle = low + (high - low) * 0.5f;
    if (!(middle > low)) break;
    int32_t reaching = 0;
    for (int64_t i = 0; i < count; ++i) reaching += values[i] >= middle ? 1 : 0;
    if (reaching < wanted) {
      high = middle;
      continue;
    }
    low = middle;
    if (reaching <= enough) break;
  }
  return low;
}

// How many of `count` values are less than each. Quadratic, but in vectors: for few values.
inline void find_ranks(const double* values, int64_t count, int64_t* ranks) {
  constexpr int64_t kAtOnce = 8;  // counters in a register or two
  for (int64_t from = 0; from < count; from += kAtOnce) {
    const int64_t many = count - from < kAtOnce ? count - from : kAtOnce;
    double own[kAtOnce] = {};
    int64_t less[kAtOnce] = {};
    for (int64_t i = 0; i < many; ++i) own[i] = values[from + i];
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t i = 0; i < kAtOnce; ++i) less[i] += values[j] < own[i] ? 1 : 0;
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
