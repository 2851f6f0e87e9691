#include "cpu/images.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/integers.h"
#include "cpu/screen_space.h"

namespace expansive {
namespace {

// A factor that makes a contraction of the directions [rank][d]: their squared spectral norm is at
// most 1 + ‖P Pᵀ - I‖, in the Frobenius norm. Products of two directions come from their distance,
// for which there is a kernel.
double find_shrink(const Kernels& kernels, const Projection& projection, int64_t rank, int64_t d) {
  const auto squared_distance = kernels.refine[static_cast<int>(DType::float32)];
  const double no_limit = std::numeric_limits<double>::infinity();
  std::vector<double> direction(static_cast<size_t>(round_up(d, 8)));
  std::vector<double> norms(static_cast<size_t>(rank));
  std::vector<float> directions(static_cast<size_t>(rank * d));
  for (int64_t a = 0; a < rank; ++a) projection.direction(a, directions.data() + a * d);
  double squared = 0.0, largest = 1.0;
  for (int64_t a = 0; a < rank; ++a) {
    const float* row = directions.data() + a * d;
    std::fill(direction.begin(), direction.end(), 0.0);
    norms[static_cast<size_t>(a)] = squared_distance(direction.data(), row, 1.0, d, no_limit);
    largest = std::max(largest, norms[static_cast<size_t>(a)]);
    std::copy(row, row + d, direction.begin());
    for (int64_t b = 0; b < a; ++b) {
      const double between =
          squared_distance(direction.data(), directions.data() + b * d, 1.0, d, no_limit);
      const double product =
          0.5 * (norms[static_cast<size_t>(a)] + norms[static_cast<size_t>(b)] - between);
      squared += 2.0 * product * product;
    }
    const double defect = norms[static_cast<size_t>(a)] - 1.0;
    squared += defect * defect;
  }
  const double defect = std::sqrt(squared) * kUp + static_cast<double>(rank) * largest * 0x1p-30;
  return kDown / std::sqrt(1.0 + defect);
}

// A lane of bytes, every other pair of numbers from 0 or 2 on, to the nearest place it may have.
void draw_lane_in(const Elements& elements, double* run, int64_t first, int64_t count) {
  const auto visit = [=](auto body) {
    for (int64_t j = first; j < count; j += j % 2 == 0 ? 1 : 3) body(run[j]);
  };
  double largest = 0.0, squared = 0.0;
  visit([&](double t) { largest = std::max(largest, std::fabs(t)); });
  if (largest == 0.0) return;
  visit([&](double t) { squared += t / largest * (t / largest); });
  const double shrink = std::min(1.0, elements.lane_radius / largest / std::sqrt(squared));
  const double most = elements.most_byte;
  visit([&](double& t) { t = std::clamp(t * shrink, -most, most); });
}

}  // namespace

ImageMaker::ImageMaker(const Kernels& kernels, std::vector<double> centre, double scale, int64_t d,
                       Basis basis)
    : kernels_(&kernels),
      centre_(std::move(centre)),
      scale_(scale),
      d_(d),
      rank_(basis.rank),
      projection_(kernels, {basis.data, basis.rank, d, d, 1}),
      origin_(static_cast<size_t>(round_up(std::max(rank_ + 1, d), 8)), 0.0),
      shrink_(find_shrink(kernels, projection_, rank_, d) / projection_.unit()) {
  const double terms = static_cast<double>(std::min(d, Projection::kChunk) + 1);
  const double roundings = kernels.elements.roundings_per_term * terms * 0x1p-24;
  const double rank = static_cast<double>(rank_);
  projection_error_ = roundings / (1.0 - roundings) * std::sqrt(rank) * kUp;
  projection_underflow_ =
      (static_cast<double>(d) + 1.0) * kernels.elements.underflow_per_term * rank;
}

void ImageMaker::lead(const uint32_t* image, int64_t count, float* out) const {
  for (int64_t j = 0; j < count; ++j) out[j] = image_element(*kernels_, image, 1, j);
}

void ImageMaker::make(const ScaledRow* rows, int64_t count, DType dtype, uint32_t* out,
                      Image* images) const {
  if (rank_ > 0) {
    make_rotated(rows, count, dtype, out, images);
    return;
  }
  for (int64_t i = 0; i < count; ++i) images[i] = place(rows[i], dtype, out + i * stride());
}

// The image of a row before any rotation.
Image ImageMaker::place(const ScaledRow& row, DType dtype, uint32_t* out) const {
  const ImageSums made = kernels_->prepare[static_cast<int>(dtype)](
      row.data, row.scale, centre_.data(), scale_, d_, out);
  const double error = image_error(made), farthest = std::sqrt(made.squared_norm) + error;
  if (kernels_->elements.words_per_run > 0) {
    if (!made.fits) return draw_into_lanes(row, dtype, out);
    const double length = std::sqrt(made.squared_length), way = std::sqrt(made.squared_way);
    return {made.squared_norm, error, made.squared_length, (way + (length + way) * 0x1p-40) * kUp,
            made.lost};
  }
  if (farthest * kUp <= kernels_->elements.radius) {
    return {made.squared_norm, error, made.squared_length};
  }
  return draw_in(row, dtype, out);
}

// The same for a row that is outside the ball, or so little inside that it may be drawn in a bit.
Image ImageMaker::draw_in(const ScaledRow& row, DType dtype, uint32_t* out) const {
  constexpr double kNear = 0x1p-960;  // below, a squared distance may be mostly what underflowed
  const double radius = kernels_->elements.radius;
  const double squared = kernels_->refine[static_cast<int>(dtype)](
      centre_.data(), row.data, row.scale, d_, std::numeric_limits<double>::infinity());
  if (!(squared >= kNear && std::isfinite(squared))) {
    // Where it is, is not known well enough: the centre stands for it.
    std::fill_n(out, rotates() ? projection_.stride() : stride(), 0u);
    return {0.0, ScreenScale(scale_, d_).reach(squared), 0.0};
  }
  const double distance = std::sqrt(squared);
  const ImageSums made = kernels_->prepare[static_cast<int>(dtype)](
      row.data, row.scale, centre_.data(), std::min(scale_, radius / distance), d_, out);
  return {made.squared_norm, (image_error(made) + radius * 0x1p-31) * kUp, made.squared_length,
          std::max(distance * scale_ * kUp - radius * kDown, 0.0)};
}

// The same for bytes in lanes: first each is drawn into its ball, then every number into its
// range.
Image ImageMaker::draw_into_lanes(const ScaledRow& row, DType dtype, uint32_t* out) const {
  thread_local std::vector<double> place, drawn;
  place.resize(static_cast<size_t>(round_up(d_, 8)));
  kernels_->widen[static_cast<int>(dtype)](row.data, row.scale, d_, place.data());
  for (size_t j = 0; j < place.size(); ++j) place[j] = (place[j] - centre_[j]) * scale_;
  drawn = place;
  const Elements& elements = kernels_->elements;
  const int64_t run = features_per_run(elements);
  for (int64_t from = 0; from < d_; from += run) {
    for (const int64_t lane : {0, 2}) {
      draw_lane_in(elements, drawn.data() + from, lane, std::min(run, d_ - from));
    }
  }
  const ImageSums made = kernels_->prepare[static_cast<int>(DType::float64)](
      drawn.data(), 1.0, origin_.data(), 1.0, d_, out);
  double moved = 0.0, squared = 0.0;
  for (size_t j = 0; j < place.size(); ++j) {
    moved += (place[j] - drawn[j]) * (place[j] - drawn[j]);
    squared += place[j] * place[j];
  }
  const double roundings = std::sqrt(static_cast<double>(d_)) * elements.most_byte * 0x1p-31;
  return {made.squared_norm, (image_error(made) + roundings) * kUp, made.squared_length,
          (std::sqrt(moved) + std::sqrt(squared) * 0x1p-40 + roundings) * kUp};
}

void ImageMaker::make_rotated(const ScaledRow* rows, int64_t count, DType dtype, uint32_t* out,
                              Image* images) const {
  const int64_t tile = kernels_->tile_queries, stride = projection_.stride();
  thread_local std::vector<uint32_t> placed;  // large, and wanted again at once
  thread_local std::vector<double> products;
  placed.resize(static_cast<size_t>(round_up(count, tile) * stride));
  products.resize(static_cast<size_t>(count * projection_.width()));
  for (int64_t i = 0; i < count; ++i) {
    images[i] = place(rows[i], dtype, placed.data() + i * stride);
  }
  projection_.project(placed.data(), count, products.data());
  for (int64_t i = 0; i < count; ++i) {
    images[i] = finish_rotated(products.data() + i * projection_.width(), images[i],
                               out + i * this->stride());
  }
}

// The image of a row that has been placed, by its products with the directions.
Image ImageMaker::finish_rotated(const double* products, const Image& placed, uint32_t* out) const {
  thread_local std::vector<double> coordinates;
  coordinates.assign(static_cast<size_t>(round_up(rank_ + 1, 8)), 0.0);
  double squared = 0.0;
  for (int64_t c = 0; c < rank_; ++c) {
    const double z = products[c] * shrink_;
    squared += z * z;
    coordinates[static_cast<size_t>(c)] = z;
  }
  const double error =
      std::sqrt(placed.squared_norm) * projection_error_ * kUp + projection_underflow_;
  // The residual norm, and how far the error of z and the roundings of both norms can move it.
  const double rest = std::sqrt(std::max(placed.squared_norm - squared, 0.0));
  const double shift =
      ((2.0 * std::sqrt(squared) + error) * error + placed.squared_norm * 0x1p-30) * kUp;
  const double rest_error = std::min(std::sqrt(shift), shift / rest) * kUp;
  coordinates[static_cast<size_t>(rank_)] = rest;
  const ImageSums made = kernels_->prepare[static_cast<int>(DType::float64)](
      coordinates.data(), 1.0, origin_.data(), 1.0, rank_ + 1, out);
  return {made.squared_norm, (image_error(made) + placed.error + error + rest_error) * kUp, 0.0,
          placed.drawn_in};
}

}  // namespace expansive
