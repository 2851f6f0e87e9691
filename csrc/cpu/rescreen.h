// The second screen: the inner product of a query's image and that of one row the first let pass.
//
// Images here keep more directions than those of the first screen and lie row by row, so a row
// costs a few cache lines from anywhere in memory: that bounds it, not the arithmetic. Each product
// passes through fewer roundings than a sum in order would give it, and the folding of the lanes.
#pragma once

#include "cpu/isa.h"

namespace expansive {
namespace {

inline float rescreen(const uint32_t* query, const uint32_t* row, int64_t words) {
  constexpr int kSums = 4;  // hide the latency of the additions
  constexpr int64_t kStep = kSums * Vector::kWidth;
  Vector sum[kSums];
  for (Vector& s : sum) s = zero_vector();
  int64_t j = 0;
  for (; j + kStep <= words; j += kStep) {
    for (int i = 0; i < kSums; ++i) {
      const int64_t at = j + i * Vector::kWidth;
      sum[i] = multiply_add(load_column(query + at), load_column(row + at), sum[i]);
    }
  }
  for (; j < words; j += Vector::kWidth) {
    sum[0] = multiply_add(load_column(query + j), load_column(row + j), sum[0]);
  }
  double lanes[Vector::kWidth] = {};
  for (const Vector& s : sum) add_to_doubles(s, lanes);
  for (int width = Vector::kWidth / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return static_cast<float>(lanes[0]);
}

}  // namespace
}  // namespace expansive
