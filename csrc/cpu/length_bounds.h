// What the screen can exclude of rows that lie farther from each other than from the centre, as
// independent features have it. The bounds of screen_space.h grow with the distance of two rows;
// these grow with the rows' lengths, which are measured. For images of whole numbers, not rotated.
// Proofs: docs/exactness.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cpu/images.h"
#include "cpu/outward.h"

namespace expansive {

// The share of an error that lies along a row, or a difference of rows, of d coordinates: three
// standard deviations of errors in all directions.
inline double likely_share(int64_t d) {
  return std::min(1.0, 3.0 / std::sqrt(static_cast<double>(d)));
}

class LengthBounds {
 public:
  // For rows of d features, scaled by `scale`; images are about `length` long, with about `error`.
  // How much these are off costs time alone.
  LengthBounds(double scale, int64_t d, double length, double error)
      : scale_(scale, d),
        length_(length),
        share_(std::min(error / (2.0 * length), 0.25)),
        likely_(likely_share(d)) {}

  // h of a database row, less what the error of a query may add to the product with it.
  double half_norm(const Image& row) const {
    return 0.5 * row.squared_length * kDown - share_ * row.squared_norm * kUp;
  }

  // The screen value that all rows within squared distance `limit` reach. `worst` is no better than
  // any row of the database.
  double threshold(const Image& query, const Image& worst, double limit) const {
    const double reach = scale_.reach(limit);
    const double by_query = query.error * query.error / (4.0 * share_);
    const double by_row = worst.error * std::sqrt(query.squared_length);
    const double between = query.squared_length * kDown - reach * reach * kUp;
    return 0.5 * between - (by_query + by_row) * kUp;
  }

  // The squared distance that a pair with this screen value hardly exceeds.
  double about(const Image& query, const Image& worst, double value) const {
    const double errors = query.error * length_ + std::sqrt(query.squared_length) * worst.error;
    const double squared = query.squared_length + 2.0 * share_ * length_ * length_ - 2.0 * value +
                           2.0 * likely_ * errors;
    return std::max(squared, 0.0) / (scale_.factor() * scale_.factor());
  }

  // An upper bound on the squared distance of every pair of this query with at least this screen
  // value, rounded to float32.
  double limit(const Image& query, const Image& worst, double value) const {
    const double errors =
        query.error * std::sqrt(worst.squared_norm) + std::sqrt(query.squared_length) * worst.error;
    const double half_norms = share_ * worst.squared_norm + worst.squared_length * 0x1p-22 + 1.0;
    const double plus = query.squared_length + 2.0 * errors + 2.0 * half_norms +
                        2.0 * std::max(-value, 0.0) + std::abs(value) * 0x1p-22;
    const double squared = std::max(plus * kUp - 2.0 * std::max(value, 0.0) * kDown, 0.0);
    const double drawn_in = query.drawn_in + worst.drawn_in;
    return scale_.limit(std::sqrt(squared) * kUp + drawn_in);
  }

 private:
  ScreenScale scale_;
  double length_;
  double share_;   // of a row's squared norm, that stands for a query's error times its norm
  double likely_;  // share of an error that lies along a row
};

}  // namespace expansive
