// Byte images of rows, what the second screen compares: every feature rounded to one of 256 even
// steps between two values that the data seldom leave.
//
// The error of an image is measured, clipping included, and belongs to the row: a row far out has a
// large one, and is measured directly. Pixels stored as whole numbers lose nothing.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "cpu/images.h"
#include "cpu/isa.h"
#include "cpu/screen_space.h"

namespace expansive {

// What byte images can exclude. The value of a pair is v = error of the row - distance of the two
// images: minus a bound from below on their distance, up to the query's error (docs/exactness.md).
class ByteSpace {
 public:
  ByteSpace(double scale, double step, int64_t d) : scale_(scale, d), step_(step) {}

  float value(int64_t squared_steps, float row_error) const {
    return static_cast<float>(static_cast<double>(row_error) -
                              step_ * std::sqrt(static_cast<double>(squared_steps)) * kDown);
  }

  // The value that every row within squared distance `limit` of the query reaches.
  float threshold(double query_error, double limit) const {
    const double reach = scale_.reach(limit);
    return round_down(-(reach + query_error) * kUp);
  }

  // An upper bound on the squared distance of every pair of this query with at least this value and
  // a row's error of at most `row_error`.
  double limit(double query_error, float value, float row_error) const {
    const double v = static_cast<double>(value);
    // In this order max() makes 0 of what is undefined: where the error is infinite, so is the
    // limit.
    const double between_images =
        std::max(0.0, static_cast<double>(row_error) - v) + std::abs(v) * 0x1p-22 + 0x1p-149;
    const double errors = static_cast<double>(row_error) + query_error;
    return scale_.limit((between_images + errors) * kUp);
  }

 private:
  ScreenScale scale_;
  double step_;
};

class ByteMaker {
 public:
  // For rows of d features that mostly lie between `low` and `high`; `scale` is a power of two.
  ByteMaker(const Kernels& kernels, double low, double high, double scale, int64_t d);

  // Of an image: whole cache lines.
  int64_t bytes() const { return round_up(d_, 64); }
  const ByteSpace& space() const { return space_; }

  // Writes the image of a row and returns its error: an upper bound on the distance from image to
  // row.
  float make(const ScaledRow& row, DType dtype, uint8_t* image) const;

 private:
  const Kernels* kernels_;
  double scale_;
  double step_;
  int64_t d_;
  std::vector<double> low_;  // d times the same, padded with zeros
  ByteSpace space_;
};

}  // namespace expansive
