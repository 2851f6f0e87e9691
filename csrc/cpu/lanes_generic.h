// Lanes in plain C++: any processor.
#pragma once

#include "cpu/lanes_plain.h"

namespace expansive {
namespace {

// Stores eight elements of an image in the screen's type; returns them as they were rounded.
inline Double8 store_image(uint32_t* image, Double8 v) {
  for (int i = 0; i < 8; ++i) {
    const float rounded = static_cast<float>(v.lane[i]);
    image[i] = bits_of(rounded);
    v.lane[i] = static_cast<double>(rounded);
  }
  return v;
}

// One vector of the screen's sums, and of its columns.
constexpr Elements kElements = {1, false, kFloatRadius, 2.0, 0x1p-148};  // product and sum round

struct Vector {
  static constexpr int kWidth = 4;
  float lane[kWidth];
};

inline Vector zero_vector() { return {}; }
inline Vector load_vector(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
inline void store_vector(float* p, Vector v) {
  for (int i = 0; i < Vector::kWidth; ++i) p[i] = v.lane[i];
}

// Sums of products as they grow, from zero or from values; and the values they are in the end.
using Column = Vector;
using Sum = Vector;

inline Sum zero_sum() { return {}; }
inline Sum start_sum(Vector values) { return values; }
inline Vector values_of(Sum sum) { return sum; }
inline void add_to_doubles(Sum sum, double* sums) {
  for (int i = 0; i < Vector::kWidth; ++i) sums[i] += static_cast<double>(sum.lane[i]);
}
inline Column load_column(const uint32_t* p) {
  return {{float_of(p[0]), float_of(p[1]), float_of(p[2]), float_of(p[3])}};
}
inline Sum multiply_add(uint32_t query, Column column, Sum sum) {
  const float q = float_of(query);
  for (int i = 0; i < Vector::kWidth; ++i) sum.lane[i] += q * column.lane[i];
  return sum;
}
inline Vector larger(Vector a, Vector b) {
  for (int i = 0; i < Vector::kWidth; ++i)
    a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return a;
}
inline Vector smaller(Vector a, Vector b) {
  for (int i = 0; i < Vector::kWidth; ++i)
    a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
  return a;
}
inline Vector minus(Vector v, float threshold) {
  for (int i = 0; i < Vector::kWidth; ++i) v.lane[i] -= threshold;
  return v;
}
using Bound = float;
inline Bound bound_of(float threshold) { return threshold; }
// At least zero where the bound is reached.
inline Vector lanes_reaching(Sum sum, Bound bound) { return minus(sum, bound); }
inline Vector either(Vector a, Vector b) { return larger(a, b); }
inline Vector subtract(Vector a, Vector b) {
  for (int i = 0; i < Vector::kWidth; ++i) a.lane[i] -= b.lane[i];
  return a;
}
inline Vector add_square(Vector v, Vector sum) {
  for (int i = 0; i < Vector::kWidth; ++i) sum.lane[i] += v.lane[i] * v.lane[i];
  return sum;
}
// How far numbers are from the range [low, high].
inline Vector outside(Vector v, float low, float high) {
  for (int i = 0; i < Vector::kWidth; ++i) {
    const float from = v.lane[i] > low ? v.lane[i] : low;
    v.lane[i] -= from < high ? from : high;
  }
  return v;
}
inline bool any_not_negative(Vector v) {
  bool any = false;
  for (int i = 0; i < Vector::kWidth; ++i) any = any || v.lane[i] >= 0.0f;
  return any;
}
inline bool any_lane(Vector reaching) { return any_not_negative(reaching); }
inline uint32_t lanes_at_least(Vector v, float threshold) {
  uint32_t mask = 0;
  for (int i = 0; i < Vector::kWidth; ++i) mask |= uint32_t{v.lane[i] >= threshold} << i;
  return mask;
}

}  // namespace
}  // namespace expansive

// It is written in what stands above.
#include "cpu/lists_plain.h"
