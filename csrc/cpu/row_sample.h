// Some rows of a matrix, spread evenly over it, in float64.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/isa.h"
#include "expansive/rows.h"

namespace expansive {

class RowSample {
 public:
  // `row_scales` multiply the rows; empty: all one. At most `rows.n` of them are sampled.
  RowSample(const Rows& rows, const Kernels& kernels, const std::vector<double>& row_scales,
            int64_t most)
      : rows_(rows),
        kernels_(kernels),
        row_scales_(row_scales),
        size_(rows.n < most ? rows.n : most) {}

  int64_t size() const { return size_; }
  // The number in the matrix of the i-th.
  int64_t row(int64_t i) const { return i * rows_.n / size_; }

  // Writes the i-th, padded with zeros to a multiple of 8.
  void widen(int64_t i, double* out) const {
    const double scale = row_scales_.empty() ? 1.0 : row_scales_[static_cast<size_t>(row(i))];
    kernels_.widen[static_cast<int>(rows_.dtype)](rows_.row(row(i)), scale, rows_.d, out);
  }

 private:
  const Rows& rows_;
  const Kernels& kernels_;
  const std::vector<double>& row_scales_;
  int64_t size_;
};

}  // namespace expansive
