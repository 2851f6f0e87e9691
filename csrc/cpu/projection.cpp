#include "cpu/projection.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace expansive {
namespace {

// Rows projected together share each pass over the directions, and stay within this.
constexpr int64_t kGroupBytes = 1 << 20;

}  // namespace

double element_unit(const Kernels& kernels, const double* origin, const float* row, int64_t d) {
  if (!kernels.elements.whole) return 1.0;
  constexpr int kLargest = 100;  // a float32, as are its reciprocal's products with elements
  const double norm = std::sqrt(kernels.refine[static_cast<int>(DType::float32)](
      origin, row, 1.0, d, std::numeric_limits<double>::infinity()));
  return std::ldexp(1.0, std::min(std::ilogb(kernels.elements.radius / norm), kLargest));
}

Projection::Projection(const Kernels& kernels, const FloatView& directions)
    : kernels_(&kernels),
      d_(directions.columns),
      words_(image_words(kernels, d_)),
      panels_(divide_up(directions.rows, kernels.panel_columns)),
      packed_(static_cast<size_t>(panels_ * kernels.panel_columns * words_)) {
  const int64_t width = kernels.panel_columns;
  const std::vector<double> origin(static_cast<size_t>(round_up(d_, 8)), 0.0);
  std::vector<float> gathered(static_cast<size_t>(directions.rows * d_));
  for (int64_t i = 0; i < directions.rows; ++i) {
    float* direction = gathered.data() + i * d_;
    for (int64_t j = 0; j < d_; ++j) direction[j] = *directions.at(i, j);
    const double unit = element_unit(kernels, origin.data(), direction, d_);
    unit_ = i == 0 ? unit : std::min(unit_, unit);
  }
  std::vector<uint32_t> image(static_cast<size_t>(stride()));
  for (int64_t i = 0; i < directions.rows; ++i) {
    kernels.prepare[static_cast<int>(DType::float32)](gathered.data() + i * d_, 1.0, origin.data(),
                                                      unit_, d_, image.data());
    uint32_t* out = packed_.data() + i / width * width * words_ + i % width;
    for (int64_t j = 0; j < words_; ++j) out[j * width] = image[static_cast<size_t>(j)];
  }
}

int64_t Projection::group() const {
  const int64_t tile = kernels_->tile_queries;
  return std::clamp<int64_t>(kGroupBytes / (words_ * 4), tile, 256) / tile * tile;
}

void Projection::direction(int64_t i, float* out) const {
  const int64_t width = kernels_->panel_columns;
  const uint32_t* image = packed_.data() + i / width * width * words_ + i % width;
  const float one = static_cast<float>(unit_);
  for (int64_t j = 0; j < d_; ++j) out[j] = image_element(*kernels_, image, width, j) / one;
}

void Projection::project(const uint32_t* rows, int64_t count, double* products) const {
  const int64_t columns = kernels_->panel_columns, tile = kernels_->tile_queries;
  const int64_t chunk = kChunk / kernels_->elements.per_word;
  std::fill_n(products, count * width(), 0.0);
  for (int64_t from = 0; from < words_; from += chunk) {
    const int64_t words = std::min(chunk, words_ - from);
    for (int64_t i = 0; i < count; i += tile) {
      for (int64_t panel = 0; panel < panels_; ++panel) {
        kernels_->project({rows + i * stride() + from, stride(), std::min(tile, count - i),
                           packed_.data() + (panel * words_ + from) * columns, words,
                           products + i * width() + panel * columns, width()});
      }
    }
  }
}

}  // namespace expansive
