// The bounds that make the screen's verdict certain. Proofs: docs/exactness.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "cpu/images.h"
#include "cpu/isa.h"
#include "cpu/length_bounds.h"
#include "cpu/outward.h"

namespace expansive {

inline constexpr int64_t kMostFeatures = int64_t{1} << 20;

inline double image_error(const ImageSums& row) {
  return image_error(row.squared_norm, row.squared_error);
}

// The estimate, by estimate.h, that no row of d features within squared distance `limit` exceeds.
inline float estimate_reach(double limit, int64_t d) {
  const double terms = static_cast<double>(d), others = 16.0;
  const double roundings = (terms / 4.0 + others) * 0x1p-24;
  const double squared = (limit * kUp + distance_underflow(d)) / (1.0 - roundings) * kUp;
  return round_up_to_float((squared + terms * 0x1p-149 + others * 0x1p-149) * kUp);
}

class ScreenSpace {
 public:
  // For rows of d features, scaled by `scale`, with images of `length`
  // coordinates. Where `near` is above 0, neighbours are expected no farther apart than it. A row's
  // own error then goes into its half norm, so that for limits up to `near` one bad row does not
  // loosen the thresholds of all queries. Drawing in takes about `lost` of squared lengths. Where
  // there are bounds by lengths, they alone serve.
  ScreenSpace(double scale, int64_t d, int64_t length, double near, double lost,
              const Kernels& kernels, std::optional<LengthBounds> by_lengths)
      : scale_(scale, d),
        near_(near),
        lost_(lost),
        whole_(kernels.elements.whole),
        by_lengths_(by_lengths) {
    const double terms = static_cast<double>(length);
    const double roundings = (kernels.elements.roundings_per_term * terms + 2.0) * 0x1p-24;
    gamma_ = roundings / (1.0 - roundings) * kUp;
    likely_ = likely_share(length);
    product_underflow_ = (terms + 1.0) * kernels.elements.underflow_per_term;
  }

  // h of a database row: its half squared norm, deflated so that neither the rounding of the
  // product nor the row's own error can hide a near row.
  float half_norm(const Image& row) const {
    if (by_lengths_) return round_down(std::floor(by_lengths_->half_norm(row)));
    const double deflated = 0.5 * row.squared_norm * (1.0 - gamma_) / (1.0 + gamma_) * kDown;
    const double half = deflated - near_ * row.error * (1.0 + gamma_) / (1.0 - gamma_) * kUp;
    return round_down(whole_ ? std::floor(half) : half);
  }

  // The squared distance within which the images of all rows within squared distance `limit` are.
  // `error` is the image error of the query plus the largest of the database.
  double squared_reach(double error, double limit) const {
    const double farthest = reach(error, limit);
    return farthest * farthest * kUp;
  }

  // The screen value that all rows within squared distance `limit` reach; `worst` is no better than
  // any row of the database.
  float threshold(const Image& query, const Image& worst, double limit) const {
    if (by_lengths_) return round_down(by_lengths_->threshold(query, worst, limit));
    const double norm = query.squared_norm * (1.0 - gamma_) * kDown;
    const double nearer = std::min(reach(query.error, limit), near_);
    const double in_half_norms = 2.0 * nearer * worst.error * kDown;
    const double squared = squared_reach(query.error + worst.error, limit) - in_half_norms;
    return round_down(0.5 * (norm - squared) - product_underflow_);
  }

  // The squared distance that a pair with this screen value hardly exceeds, where images are not
  // rotated and cut.
  double about(const Image& query, const Image& worst, float value) const {
    const double v = static_cast<double>(value) - 0.5 * (query.lost + lost_);
    if (by_lengths_) return by_lengths_->about(query, worst, v);
    const double squared = query.squared_norm - 2.0 * v, error = query.error + worst.error;
    const double distance = (std::sqrt(std::max(squared, 0.0)) + likely_ * error) / scale_.factor();
    return distance * distance;
  }

  // An upper bound on the squared distance of every pair of this query with at least this screen
  // value and at most this h, where images are not rotated and cut.
  double limit(const Image& query, const Image& worst, float value, float half_norm) const {
    const double v = static_cast<double>(value), h = static_cast<double>(half_norm);
    if (by_lengths_) return by_lengths_->limit(query, worst, v);
    const double error = query.error + query.drawn_in + worst.error + worst.drawn_in;
    const double not_floored = h * (1.0 + 0x1p-22) + (whole_ ? 1.0 : 0x1p-148);
    const double row_norm = 2.0 * not_floored * (1.0 + gamma_) / (1.0 - gamma_) * kUp;
    const double plus = (query.squared_norm * kUp + row_norm) * (1.0 + gamma_) +
                        2.0 * product_underflow_ + 2.0 * std::max(-v, 0.0);
    const double minus = 2.0 * h * (1.0 - gamma_) + 2.0 * std::max(v, 0.0);
    const double between_images = std::sqrt(std::max(plus * kUp - minus * kDown, 0.0)) * kUp;
    return scale_.limit(between_images + error);
  }

 private:
  double reach(double error, double limit) const { return (scale_.reach(limit) + error) * kUp; }

  ScreenScale scale_;
  double near_;
  double lost_;
  bool whole_;  // half norms are whole numbers
  std::optional<LengthBounds> by_lengths_;
  double likely_;             // share of an error that lies along a difference of rows
  double gamma_;              // relative rounding error of a product of d terms and its start
  double product_underflow_;  // its absolute error from subnormal float32 results
};

}  // namespace expansive
