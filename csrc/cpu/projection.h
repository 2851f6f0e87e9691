// Products of rows with some directions, both in the screen's elements.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/integers.h"
#include "cpu/isa.h"

namespace expansive {

// A matrix anywhere in memory; distances are in elements.
struct FloatView {
  const float* data;
  int64_t rows;
  int64_t columns;
  int64_t row_stride;
  int64_t column_stride;

  const float* at(int64_t i, int64_t j) const { return data + i * row_stride + j * column_stride; }
  bool contiguous_rows() const { return column_stride == 1; }
};

// The power of two by which a row of d features is rounded to elements: those that are whole
// numbers want large ones. `origin` is zeros, padded to a multiple of 8.
double element_unit(const Kernels& kernels, const double* origin, const float* row, int64_t d);

class Projection {
 public:
  // Terms of a product summed in float32 before float64 takes over: short sums keep the rounding
  // error small.
  static constexpr int64_t kChunk = 256;

  // Rounds the directions, [count][features], to the screen's elements.
  Projection(const Kernels& kernels, const FloatView& directions);

  // Words that a row to be projected is written in.
  int64_t stride() const { return image_words(*kernels_, round_up(d_, 8)); }
  // Products of a row, those with padding's directions too.
  int64_t width() const { return panels_ * kernels_->panel_columns; }
  // Rows to project at once.
  int64_t group() const;

  // Of the directions' elements, and so of products.
  double unit() const { return unit_; }
  // A direction as it was rounded, in its own unit.
  void direction(int64_t i, float* out) const;
  // The products of `count` rows, `stride` words apart, [count][width]. Whole tiles of rows are
  // read.
  void project(const uint32_t* rows, int64_t count, double* products) const;

 private:
  const Kernels* kernels_;
  int64_t d_;
  int64_t words_;
  int64_t panels_;                // each panel_columns wide
  double unit_ = 1.0;             // the longest direction's
  std::vector<uint32_t> packed_;  // [panel][word][column]
};

}  // namespace expansive
