// Roundings outward, for bounds that must hold whatever float64 and float32 lose. Shared by the
// screens of CPU and CUDA; proofs: docs/exactness.md.
#pragma once

#include <cmath>
#include <cstdint>

#include "expansive/host_device.h"

namespace expansive {

// Factors that round a float64 computation of at most 2^20 terms outward, up and down.
inline constexpr double kUp = 1.0 + 0x1p-32;
inline constexpr double kDown = 1.0 - 0x1p-32;

// The largest float32 not above v.
EXPANSIVE_HOST_DEVICE inline float round_down(double v) {
  const float nearest = static_cast<float>(v);
  if (!(static_cast<double>(nearest) > v)) return nearest;
  return ::nextafterf(nearest, -INFINITY);
}

// The smallest float32 not below v.
EXPANSIVE_HOST_DEVICE inline float round_up_to_float(double v) { return -round_down(-v); }

// Absolute error of an exact squared distance of d features, from squares that are subnormal.
EXPANSIVE_HOST_DEVICE inline double distance_underflow(int64_t d) {
  return (static_cast<double>(d) + 8.0) * 0x1p-1073;
}

// Between squared distances of rows of d features, as they are computed, and how far apart the rows
// are in a screen, which scales them. Rounded outward.
class ScreenScale {
 public:
  EXPANSIVE_HOST_DEVICE ScreenScale(double factor, int64_t d)
      : factor_(factor), underflow_(distance_underflow(d)) {}

  EXPANSIVE_HOST_DEVICE double factor() const { return factor_; }
  // In the screen, rows whose computed squared distance is at most `limit` are no farther apart.
  EXPANSIVE_HOST_DEVICE double reach(double limit) const {
    return factor_ * ::sqrt(limit * kUp + underflow_) * kUp;
  }
  // The computed squared distance of rows that are at most `reach` apart there is no larger.
  EXPANSIVE_HOST_DEVICE double limit(double reach) const {
    const double distance = reach * kUp / factor_;
    return distance * distance * kUp + underflow_;
  }

 private:
  double factor_;
  double underflow_;  // absolute error of the squared distance, from squares that are subnormal
};

// An upper bound on the distance from a row's place to its image, from the measured square of it:
// with the float64 rounding of the difference itself, and what underflows.
EXPANSIVE_HOST_DEVICE inline double image_error(double squared_norm, double squared_error) {
  const double measured = ::sqrt(squared_error);
  return (measured + 0x1p-50 * (::sqrt(squared_norm) + measured)) * kUp + 1e-150;
}

}  // namespace expansive
