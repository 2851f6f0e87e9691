// The bounds that make the CUDA screen's verdict certain; the proof is that of docs/exactness.md,
// with the roundings of a tensor core in place of a processor's. Shared by kernels and host tests.
#pragma once

#include <cmath>
#include <cstdint>

#include "cpu/outward.h"
#include "expansive/host_device.h"

namespace expansive::cuda {

inline constexpr int64_t kMostFeatures = int64_t{1} << 18;

// An image this long could overflow float32 products; its query is not screened.
inline constexpr double kLongestImage = 0x1p100;  // squared
// Coordinates of images below this are taken as zero, so that none is subnormal.
inline constexpr float kLeastCoordinate = 0x1p-120f;

// Relative error of a screen value of `d` products.
//
// PTX leaves the order and the rounding of a sum on tensor cores open. Measured (Fasi, Higham,
// Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, PeerJ Comput. Sci. 7:e330, 2021):
// products are exact; each of the w products added at once, and the sum so far, is aligned to the
// largest of them and cut at 2^-23 of it or finer, then so is the result. That is an error of at
// most (w + 2) / w <= 3 units of 2^-23 a product. This takes 4, and 32 for the rest.
EXPANSIVE_HOST_DEVICE inline double screen_gamma(int64_t d) {
  const double units = (4.0 * static_cast<double>(d) + 32.0) * 0x1p-23;
  return units / (1.0 - units) * kUp;
}

// Its absolute error where products or sums fall below the normal range.
EXPANSIVE_HOST_DEVICE inline double screen_underflow(int64_t d) {
  return (static_cast<double>(d) + 1.0) * 0x1p-124;
}

// h of a database row: its half squared norm, deflated so that the rounding of the product cannot
// hide a near row.
EXPANSIVE_HOST_DEVICE inline float half_norm(double squared_norm, double gamma) {
  return round_down(0.5 * squared_norm * (1.0 - gamma) / (1.0 + gamma) * kDown);
}

// A query's share of the bound below.
EXPANSIVE_HOST_DEVICE inline double query_norm(double squared_norm, double gamma, int64_t d) {
  return squared_norm * (1.0 - gamma) * kDown - 2.0 * screen_underflow(d) * kUp;
}

// How far apart two images may be at most when the rows' squared distance is at most `limit`, but
// for the error of the database row's image.
EXPANSIVE_HOST_DEVICE inline double image_reach(double limit, double scale, double query_error,
                                                int64_t d) {
  return (ScreenScale(scale, d).reach(limit) + query_error) * kUp;
}

// Whether every row whose screen value is at most `value`, and whose image error at most
// `tile_error`, is certainly farther than the limit of `reach`. What is NaN or infinite excludes
// nothing.
EXPANSIVE_HOST_DEVICE inline bool is_excluded(float value, double query_norm, double reach,
                                              double tile_error) {
  const double apart = (query_norm - 2.0 * static_cast<double>(value)) * kDown;
  const double within = (reach + tile_error) * kUp;
  return apart > within * within * kUp;
}

// The power of two that brings centred coordinates below 1 (centring may double the largest).
inline double find_scale(double largest) {
  if (!(largest > 0.0 && largest < INFINITY)) return 1.0;
  const int exponent = -::ilogb(largest) - 2;
  return ::ldexp(1.0, exponent < 1000 ? exponent : 1000);
}

}  // namespace expansive::cuda
