// The database of a search: its rows, their order by class, and how they become images.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/byte_images.h"
#include "cpu/copies.h"
#include "cpu/grouping.h"
#include "cpu/images.h"
#include "cpu/isa.h"
#include "cpu/panel_boxes.h"
#include "cpu/screen_space.h"
#include "expansive/interrupt.h"
#include "expansive/neighbors.h"

namespace expansive {

// Where the images of some rows go, one after the other; byte images only where there are any.
struct ImagesOut {
  uint32_t* words;
  Image* images;
  uint8_t* byte_images;
  float* byte_errors;
};

// Whether float32 holds rows as they are.
constexpr bool fits_floats(DType dtype, Metric metric) {
  return dtype != DType::float64 && metric != Metric::cosine;
}

// Whether rows are long and no cache holds them: then reading them is most of what estimates cost,
// and those of many queries are made together (joint_estimates.h).
constexpr bool estimates_jointly(const Rows& rows, Metric metric) {
  constexpr int64_t kLong = 4096, kCache = 32 << 20;  // bytes
  const int64_t row_bytes = rows.d * size_of(rows.dtype);
  return fits_floats(rows.dtype, metric) && row_bytes >= kLong && rows.n * row_bytes > kCache;
}

// Up to so many queries, looking at all rows as they are is faster than packing them.
constexpr int64_t few_queries(DType dtype, Metric metric) {
  return fits_floats(dtype, metric) ? 16 : 4;
}

// Everything about the database but its packed form.
struct Database {
  Rows rows;
  Metric metric;
  const Kernels* kernels;
  Grouping grouping;
  ImageMaker images;
  std::optional<ByteMaker> bytes;  // the second screen's, if rows are rotated
  ScreenSpace space;
  std::vector<double> row_scales;  // reciprocal norms for cosine, else empty
  Copies copies = {};              // only looked for where rows are packed

  double row_scale(int64_t row) const {
    return row_scales.empty() ? 1.0 : row_scales[static_cast<size_t>(row)];
  }
  ScaledRow scaled_row(int64_t row) const { return {rows.row(row), row_scale(row)}; }
  int dtype() const { return static_cast<int>(rows.dtype); }
  int64_t image_bytes() const { return bytes ? bytes->bytes() : 0; }
  bool fits_floats() const { return expansive::fits_floats(rows.dtype, metric); }
  bool estimates_jointly() const { return expansive::estimates_jointly(rows, metric); }
  int64_t box_dims() const { return std::min(kBoxDims, images.length()); }

  // Makes the images of `count` rows of one type, for both screens.
  void make_images(const ScaledRow* scaled, int64_t count, DType dtype, const ImagesOut& out) const;
};

// Reciprocal norms of all rows: what makes Euclidean distance of the scaled rows the cosine's.
std::vector<double> find_row_scales(const Rows& rows, const Kernels& kernels, int threads,
                                    Interrupt& interrupt);

// Checks what the constructor of NeighborIndex was given, and looks at a sample of the rows.
// For searches of many queries it finds out whether bytes are fine enough.
Database make_database(Rows rows, double largest, const int64_t* codes, int64_t n_classes,
                       Metric metric, Basis basis, Expected expected, int threads,
                       Interrupt& interrupt);

}  // namespace expansive
