#include "cpu/images.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/integers.h"
#include "cpu/screen_space.h"

namespace expansive {
namespace {

// Features summed in float32 before float64 takes over: short sums keep the rounding error small.
constexpr int64_t kChunk = 128;

// Rows projected together share each pass over the basis; their moved copies stay within this.
constexpr int64_t kMovedBytes = 1 << 20;

// Bound on ‖basis - Q‖ for some exactly orthonormal Q: ‖P Pᵀ - I‖ in the Frobenius norm. Products
// of two directions come from their distance, for which there is a kernel.
double measure_defect(const Kernels& kernels, const Basis& basis, int64_t d) {
  const auto squared_distance = kernels.refine[static_cast<int>(DType::float32)];
  const double no_limit = std::numeric_limits<double>::infinity();
  std::vector<double> direction(static_cast<size_t>(round_up(d, 8)));
  std::vector<double> norms(static_cast<size_t>(basis.rank));
  double squared = 0.0, largest = 1.0;
  for (int64_t a = 0; a < basis.rank; ++a) {
    const float* row = basis.data + a * d;
    std::fill(direction.begin(), direction.end(), 0.0);
    norms[static_cast<size_t>(a)] = squared_distance(direction.data(), row, 1.0, d, no_limit);
    largest = std::max(largest, norms[static_cast<size_t>(a)]);
    std::copy(row, row + d, direction.begin());
    for (int64_t b = 0; b < a; ++b) {
      const double between =
          squared_distance(direction.data(), basis.data + b * d, 1.0, d, no_limit);
      const double product =
          0.5 * (norms[static_cast<size_t>(a)] + norms[static_cast<size_t>(b)] - between);
      squared += 2.0 * product * product;
    }
    const double defect = norms[static_cast<size_t>(a)] - 1.0;
    squared += defect * defect;
  }
  return std::sqrt(squared) * kUp + static_cast<double>(basis.rank) * largest * 0x1p-30;
}

}  // namespace

ImageMaker::ImageMaker(const Kernels& kernels, std::vector<double> centre, double scale, int64_t d,
                       Basis basis)
    : kernels_(&kernels),
      centre_(std::move(centre)),
      scale_(scale),
      d_(d),
      rank_(basis.rank),
      panels_(divide_up(basis.rank, kernels.panel_columns)),
      basis_(static_cast<size_t>(panels_ * kernels.panel_columns * d)),
      origin_(static_cast<size_t>(round_up(rank_ + 1, 8)), 0.0),
      basis_defect_(measure_defect(kernels, basis, d)) {
  const double terms = static_cast<double>(std::min(d, kChunk) + 1);
  const double roundings = kernels.roundings_per_term * terms * 0x1p-24;
  projection_error_ = roundings / (1.0 - roundings) * (1.0 + basis_defect_) *
                      std::sqrt(static_cast<double>(rank_)) * kUp;
  const int64_t width = kernels.panel_columns;
  for (int64_t row = 0; row < rank_; ++row) {
    float* out = basis_.data() + row / width * width * d + row % width;
    for (int64_t j = 0; j < d; ++j) out[j * width] = basis.data[row * d + j];
  }
}

int64_t ImageMaker::group() const {
  if (rank_ == 0) return 1;
  const int64_t tile = kernels_->tile_queries;
  return std::clamp<int64_t>(kMovedBytes / (d_ * 4), tile, 256) / tile * tile;
}

void ImageMaker::lead(const uint32_t* image, int64_t count, float* out) const {
  for (int64_t j = 0; j < count; ++j) {
    const uint32_t word = image[j / kernels_->elements_per_word];
    const uint32_t bits = kernels_->elements_per_word == 1 ? word
                          : j % 2 == 0                     ? word << 16
                                                           : word & 0xFFFF0000u;
    std::memcpy(out + j, &bits, sizeof bits);
  }
}

void ImageMaker::make(const ScaledRow* rows, int64_t count, DType dtype, uint32_t* out,
                      Image* images) const {
  if (rank_ > 0) {
    make_rotated(rows, count, dtype, out, images);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const ScreenRow made = kernels_->prepare[static_cast<int>(dtype)](
        rows[i].data, rows[i].scale, centre_.data(), scale_, d_, out + i * stride());
    images[i] = {made.squared_norm, rounding_error(made)};
  }
}

void ImageMaker::make_rotated(const ScaledRow* rows, int64_t count, DType dtype, uint32_t* out,
                              Image* images) const {
  // Rows a power of two apart would share the few places that a first-level cache has for them.
  const int64_t padded = round_up(d_, 16) + 16, width = panels_ * kernels_->panel_columns;
  thread_local std::vector<float> moved;  // large, and wanted again at once
  thread_local std::vector<double> projected;
  moved.resize(static_cast<size_t>(round_up(count, kernels_->tile_queries) * padded));
  projected.assign(static_cast<size_t>(count * width), 0.0);
  std::vector<ScreenRow> placed(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    placed[static_cast<size_t>(i)] = kernels_->move[static_cast<int>(dtype)](
        rows[i].data, rows[i].scale, centre_.data(), scale_, d_, moved.data() + i * padded);
  }
  for (int64_t from = 0; from < d_; from += kChunk) {
    const int64_t length = std::min(kChunk, d_ - from);
    for (int64_t i = 0; i < count; i += kernels_->tile_queries) {
      for (int64_t panel = 0; panel < panels_; ++panel) {
        kernels_->project({moved.data() + i * padded + from, padded,
                           std::min<int64_t>(kernels_->tile_queries, count - i),
                           basis_panel(panel) + from * kernels_->panel_columns, length,
                           projected.data() + i * width + panel * kernels_->panel_columns, width});
      }
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    images[i] = finish_rotated(projected.data() + i * width, placed[static_cast<size_t>(i)],
                               out + i * stride());
  }
}

// The image of a row with the projections z.
Image ImageMaker::finish_rotated(const double* z, const ScreenRow& placed, uint32_t* out) const {
  thread_local std::vector<double> coordinates;
  coordinates.assign(static_cast<size_t>(round_up(rank_ + 1, 8)), 0.0);
  double squared = 0.0;
  for (int64_t c = 0; c < rank_; ++c) {
    squared += z[c] * z[c];
    coordinates[static_cast<size_t>(c)] = z[c];
  }
  const double error =
      std::sqrt(placed.squared_norm) * (projection_error_ + basis_defect_) * kUp + 0x1p-140;
  // The residual norm, and how far the error of z and the roundings of both norms can move it.
  const double rest = std::sqrt(std::max(placed.squared_norm - squared, 0.0));
  const double shift =
      ((2.0 * std::sqrt(squared) + error) * error + placed.squared_norm * 0x1p-30) * kUp;
  const double rest_error = std::min(std::sqrt(shift), shift / rest) * kUp;
  coordinates[static_cast<size_t>(rank_)] = rest;
  const ScreenRow made = kernels_->prepare[static_cast<int>(DType::float64)](
      coordinates.data(), 1.0, origin_.data(), 1.0, rank_ + 1, out);
  return {made.squared_norm,
          (rounding_error(made) + rounding_error(placed) + error + rest_error) * kUp};
}

}  // namespace expansive
