// A stretch of the grouped database packed for the screen: [panel][word][column].
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/grouping.h"
#include "cpu/images.h"
#include "cpu/isa.h"
#include "cpu/screen_space.h"
#include "expansive/neighbors.h"

namespace expansive {

// Everything about the database but its packed form.
struct Database {
  Rows rows;
  Metric metric;
  const Kernels* kernels;
  Grouping grouping;
  ImageMaker images;
  ScreenSpace space;
  ScreenSpace rescreen_space;
  std::vector<double> row_scales;  // reciprocal norms for cosine, else empty

  double row_scale(int64_t row) const {
    return row_scales.empty() ? 1.0 : row_scales[static_cast<size_t>(row)];
  }
  ScaledRow scaled_row(int64_t row) const { return {rows.row(row), row_scale(row)}; }
  int dtype() const { return static_cast<int>(rows.dtype); }
};

// The larger of each field.
inline Image worse(const Image& a, const Image& b) {
  return {std::max(a.squared_norm, b.squared_norm), std::max(a.error, b.error),
          std::max(a.rest, b.rest)};
}
inline Images worse(const Images& a, const Images& b) {
  return {worse(a.screen, b.screen), worse(a.rescreen, b.rescreen)};
}

class Panels {
 public:
  // Room for `capacity` positions; memory of one stretch serves the next.
  Panels(const Database& database, int64_t capacity);

  // Packs the positions [first, first + count) of the database; `first` is a multiple of the panel
  // width. Columns past the end hold zeros and a half norm that no threshold reaches.
  void pack(const Database& database, int64_t first, int64_t count, int threads,
            Interrupt& interrupt);

  static int64_t bytes(const Database& database, int64_t count);

  int64_t first() const { return first_; }
  int64_t end() const { return first_ + count_; }
  const uint32_t* data() const { return data_.data(); }
  const float* negated_half_norms() const { return negated_half_norms_.data(); }
  // For the second screen: images lie by position, each of database.images.rescreen_words().
  const uint32_t* rescreen_image(int64_t position) const {
    return rescreen_data_.data() + (position - first_) * rescreen_words_;
  }
  const float* negated_rescreen_half_norms() const { return negated_rescreen_half_norms_.data(); }
  // The largest error and the largest rest of any image here.
  const Images& worst() const { return worst_; }

 private:
  Images pack_some(const Database& database, int64_t first_panel, int64_t end_panel);
  void transpose(const Database& database, const uint32_t* images, int64_t count, int64_t panel);

  int64_t first_ = 0;
  int64_t count_ = 0;
  int64_t rescreen_words_;
  AlignedWords data_;           // [panel][word][column]
  AlignedWords rescreen_data_;  // [position][word]
  std::vector<float> negated_half_norms_;
  std::vector<float> negated_rescreen_half_norms_;
  Images worst_;
};

}  // namespace expansive
