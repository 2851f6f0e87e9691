// The bounds that make the screen's verdict certain. Proofs: docs/exactness.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/images.h"
#include "cpu/isa.h"

namespace expansive {

// Factors that round a float64 computation of at most 2^20 terms outward, up and down.
inline constexpr double kUp = 1.0 + 0x1p-32;
inline constexpr double kDown = 1.0 - 0x1p-32;

inline constexpr int64_t kMostFeatures = int64_t{1} << 20;

// The largest float32 not above v.
inline float round_down(double v) {
  const float nearest = static_cast<float>(v);
  if (static_cast<double>(nearest) <= v) return nearest;
  return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

// The smallest float32 not below v.
inline float round_up_to_float(double v) { return -round_down(-v); }

// Above the distance between a row's place and its image: the measured rounding, the float64
// rounding of the difference itself, and what underflows.
inline double rounding_error(const ScreenRow& row) {
  const double measured = std::sqrt(row.squared_error);
  return (measured + 0x1p-50 * (std::sqrt(row.squared_norm) + measured)) * kUp + 1e-150;
}

// Absolute error of an exact squared distance of d features, from squares that are subnormal.
inline double distance_underflow(int64_t d) { return (static_cast<double>(d) + 8.0) * 0x1p-1073; }

// The estimate, by estimate.h, that no row of d features within squared distance `limit` exceeds.
inline float estimate_reach(double limit, int64_t d) {
  const double terms = static_cast<double>(d), others = 16.0;
  const double roundings = (terms / 4.0 + others) * 0x1p-24;
  const double squared = (limit * kUp + distance_underflow(d)) / (1.0 - roundings) * kUp;
  return round_up_to_float((squared + terms * 0x1p-149 + others * 0x1p-149) * kUp);
}

class ScreenSpace {
 public:
  // For rows of d features, scaled by the power of two `scale`, with images of `length`
  // coordinates. Where `near` is not 0, neighbours are expected no farther apart than it: a row's
  // error is then in its half norm, so that within `near` the worst row's does not loosen the
  // threshold for all.
  ScreenSpace(double scale, int64_t d, int64_t length, double near, const Kernels& kernels)
      : scale_(scale), near_(near), whole_(kernels.elements.whole) {
    const double terms = static_cast<double>(length);
    const double roundings = (kernels.elements.roundings_per_term * terms + 2.0) * 0x1p-24;
    gamma_ = roundings / (1.0 - roundings) * kUp;
    product_underflow_ = (terms + 1.0) * kernels.elements.underflow_per_term;
    distance_underflow_ = distance_underflow(d);
  }

  // h of a database row: its half squared norm, deflated so that neither the rounding of the
  // product nor the row's own error can hide a near row.
  float half_norm(const Image& row) const {
    const double deflated = 0.5 * row.squared_norm * (1.0 - gamma_) / (1.0 + gamma_) * kDown;
    const double half = deflated - near_ * row.error * (1.0 + gamma_) / (1.0 - gamma_) * kUp;
    return round_down(whole_ ? std::floor(half) : half);
  }

  // The squared distance within which the images of all rows within squared distance `limit` are.
  // `error` is the image error of the query plus the largest of the database.
  double reach(double error, double limit) const {
    const double farthest = within(error, limit);
    return farthest * farthest * kUp;
  }

  // The screen value that all rows within squared distance `limit` reach; `worst` is the largest
  // image error of the database.
  float threshold(const Image& query, double worst, double limit) const {
    const double norm = query.squared_norm * (1.0 - gamma_) * kDown;
    const double in_half_norms = 2.0 * std::min(within(query.error, limit), near_) * worst * kDown;
    const double squared = reach(query.error + worst, limit) - in_half_norms;
    return round_down(0.5 * (norm - squared) - product_underflow_);
  }

  // The squared distance of a pair with this screen value, but for roundings, where images are not
  // rotated and cut.
  double about(const Image& query, float value) const {
    const double squared = query.squared_norm - 2.0 * static_cast<double>(value);
    const double distance = std::sqrt(std::max(squared, 0.0)) / scale_;
    return distance * distance;
  }

  // Above the squared distance of every pair of this query with at least this screen value and at
  // most this h, where images are not rotated and cut.
  double limit(double squared_norm, double error, float value, float half_norm) const {
    const double v = static_cast<double>(value), h = static_cast<double>(half_norm);
    const double not_floored = h * (1.0 + 0x1p-22) + (whole_ ? 1.0 : 0x1p-148);
    const double row_norm = 2.0 * not_floored * (1.0 + gamma_) / (1.0 - gamma_) * kUp;
    const double plus = (squared_norm * kUp + row_norm) * (1.0 + gamma_) +
                        2.0 * product_underflow_ + 2.0 * std::max(-v, 0.0);
    const double minus = 2.0 * h * (1.0 - gamma_) + 2.0 * std::max(v, 0.0);
    const double between_images = std::sqrt(std::max(plus * kUp - minus * kDown, 0.0)) * kUp;
    const double distance = (between_images + error) * kUp / scale_;
    return distance * distance * kUp + distance_underflow_;
  }

 private:
  double within(double error, double limit) const {
    return (scale_ * std::sqrt(limit * kUp + distance_underflow_) * kUp + error) * kUp;
  }

  double scale_;
  double near_;
  bool whole_;                 // half norms are whole numbers
  double gamma_;               // relative rounding error of a product of d terms and its start
  double product_underflow_;   // its absolute error from subnormal float32 results
  double distance_underflow_;  // absolute error of an exact distance from subnormal float64 squares
};

}  // namespace expansive
