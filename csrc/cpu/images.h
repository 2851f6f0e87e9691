// How rows become images, what the screen compares: moved to a common centre, scaled, perhaps
// rotated and cut to the leading dimensions, and rounded to the screen's element type.
//
// Elements have a range. A row that lies outside the ball they can hold is drawn in, straight to
// the ball's surface, which lengthens no distance; bytes have a smaller convex set, a cube or what
// of it their lanes hold.
// Cutting keeps the residual norm, the length of what was cut off, as one more coordinate: rotation
// does not lengthen distances, and neither does (z, |rest|), so images are never farther apart than
// rows, up to the error that is accounted for with each image (docs/exactness.md).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/integers.h"
#include "cpu/isa.h"
#include "cpu/projection.h"
#include "expansive/neighbors.h"

namespace expansive {

// A row of some matrix; for the cosine metric `scale` is its reciprocal norm.
struct ScaledRow {
  const void* data;
  double scale;
};

struct Image {
  double squared_norm = 0.0;
  double error =
      0.0;  // upper bound on the distance from the image to the row's place in screen space
  double squared_length = 0.0;  // of that place; not kept where rows are rotated
  double drawn_in = 0.0;        // upper bound on how far the row was moved into what elements hold
  double lost = 0.0;            // of bytes: about what that took from its squared length
};

// The larger of each field.
inline Image worse(const Image& a, const Image& b) {
  return {std::max(a.squared_norm, b.squared_norm), std::max(a.error, b.error),
          std::max(a.squared_length, b.squared_length), std::max(a.drawn_in, b.drawn_in),
          std::max(a.lost, b.lost)};
}

class ImageMaker {
 public:
  // `centre` is padded with zeros to a multiple of 8; `scale` is at most 2^1000, for bytes 2^400.
  ImageMaker(const Kernels& kernels, std::vector<double> centre, double scale, int64_t d,
             Basis basis);

  // Rows to make images of at once.
  int64_t group() const { return rotates() ? projection_.group() : 1; }
  bool rotates() const { return rank_ > 0; }
  // Coordinates of an image; the words that hold them; and those the maker may write.
  int64_t length() const { return rank_ > 0 ? rank_ + 1 : d_; }
  int64_t words() const { return image_words(*kernels_, length()); }
  int64_t stride() const { return image_words(*kernels_, round_up(length(), 8)); }

  // The first `count` coordinates of an image.
  void lead(const uint32_t* image, int64_t count, float* out) const;

  // Makes the images of `count` rows of one type, at most a group, `stride` words apart.
  void make(const ScaledRow* rows, int64_t count, DType dtype, uint32_t* out, Image* images) const;

 private:
  Image place(const ScaledRow& row, DType dtype, uint32_t* out) const;
  Image draw_in(const ScaledRow& row, DType dtype, uint32_t* out) const;
  Image draw_into_lanes(const ScaledRow& row, DType dtype, uint32_t* out) const;
  void make_rotated(const ScaledRow* rows, int64_t count, DType dtype, uint32_t* out,
                    Image* images) const;
  Image finish_rotated(const double* products, const Image& placed, uint32_t* out) const;

  const Kernels* kernels_;
  std::vector<double> centre_;
  double scale_;
  int64_t d_;
  int64_t rank_;
  Projection projection_;
  std::vector<double> origin_;   // zeros
  double shrink_;                // makes a contraction of the basis as it was rounded
  double projection_error_;      // rounding of a projection, relative to the row's norm
  double projection_underflow_;  // and what it loses where products are subnormal
};

}  // namespace expansive
