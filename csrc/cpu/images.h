// How rows become images, what the screen compares: moved to a common centre, scaled by a power of
// two, perhaps rotated and cut to the leading dimensions, and rounded to the screen's element type.
//
// Cutting keeps the residual norm, the length of what was cut off, as one more coordinate: rotation
// does not lengthen distances, and neither does (z, |rest|), so images are never farther apart than
// rows, up to the error that is accounted for with each image (docs/exactness.md).
//
// A rotated row may have two images, of one projection: a short one for the screen, and one in all
// directions for the second screen of what the first lets pass.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/integers.h"
#include "cpu/isa.h"
#include "expansive/neighbors.h"

namespace expansive {

// A row of some matrix; for the cosine metric `scale` is its reciprocal norm.
struct ScaledRow {
  const void* data;
  double scale;
};

struct Image {
  double squared_norm;
  double error;  // above the distance between the image and the row's place in the screen's space
  double rest;   // above the length of what was cut off
};

// Of one row; the second is as good as none where there is no second screen.
struct Images {
  Image screen{0.0, 0.0, 0.0};
  Image rescreen{0.0, 0.0, 0.0};
};

// Where images of rows go: `stride` and `rescreen_words` words apart.
struct ImageWords {
  uint32_t* screen;
  uint32_t* rescreen;
};

class ImageMaker {
 public:
  // `centre` is padded with zeros to a multiple of 8; `scale` is a power of two, at most 2^1000.
  ImageMaker(const Kernels& kernels, std::vector<double> centre, double scale, int64_t d,
             Basis basis);

  // Rows worth making images of at once.
  int64_t group() const { return rank_ > 0 ? 256 : 1; }
  // Whether images are as far apart as rows, not only no farther.
  bool keeps_distances() const { return rank_ == 0; }
  // Coordinates of a screen's image; the words that hold them; and those the maker may write.
  int64_t length() const { return screen_rank_ > 0 ? screen_rank_ + 1 : d_; }
  int64_t words() const { return image_words(*kernels_, length()); }
  int64_t stride() const { return image_words(*kernels_, round_up(length(), 8)); }
  // The same of the second screen's image, if there is one: whole cache lines.
  bool rescreens() const { return screen_rank_ < rank_; }
  int64_t rescreen_length() const { return rank_ + 1; }
  int64_t rescreen_words() const {
    return rescreens() ? round_up(image_words(*kernels_, round_up(rescreen_length(), 8)), 16) : 0;
  }

  // Makes the images of `count` rows of one type.
  void make(const ScaledRow* rows, int64_t count, DType dtype, ImageWords out,
            Images* images) const;

 private:
  void make_rotated(const ScaledRow* rows, int64_t count, DType dtype, ImageWords out,
                    Images* images) const;
  Image finish_rotated(const double* z, int64_t rank, const ScreenRow& placed, uint32_t* out) const;

  const float* basis_panel(int64_t panel) const {
    return basis_.data() + panel * d_ * kernels_->panel_columns;
  }

  const Kernels* kernels_;
  std::vector<double> centre_;
  double scale_;
  int64_t d_;
  int64_t rank_;
  int64_t screen_rank_;
  int64_t panels_;              // of the basis, each panel_columns wide
  std::vector<float> basis_;    // [panel][feature][column]
  std::vector<double> origin_;  // zeros
  double basis_defect_;         // bound on the distance from an exactly orthonormal basis
  double projection_error_;     // rounding of a projection, relative to the row's norm
};

}  // namespace expansive
