#include "cpu/byte_images.h"

#include <algorithm>
#include <limits>

namespace expansive {
namespace {

// Of 256 values, in the scaled space.
double find_step(double low, double high, double scale) {
  const double step = (high - low) * scale / 255.0;
  return step > 0x1p-500 ? step : 1.0;
}

}  // namespace

ByteMaker::ByteMaker(const Kernels& kernels, double low, double high, double scale, int64_t d)
    : kernels_(&kernels),
      scale_(scale),
      step_(find_step(low, high, scale)),
      d_(d),
      low_(static_cast<size_t>(round_up(d, 8)), 0.0),
      space_(scale, step_, d) {
  std::fill_n(low_.begin(), d, low);
}

float ByteMaker::make(const ScaledRow& row, DType dtype, uint8_t* image) const {
  std::fill(image + d_, image + bytes(), uint8_t{0});
  const ImageSums made = kernels_->prepare_bytes[static_cast<int>(dtype)](
      row.data, row.scale, low_.data(), scale_, step_, d_, image);
  return round_up_to_float(image_error(made));
}

}  // namespace expansive
