// Projection of rows onto a basis: the screen's product without its verdict.
//
// Adds, to what is in `sums`, the products of a tile of rows with one panel of the basis over a run
// of words; rows and basis hold the screen's elements. Cost: tile_queries * panel_columns * words
// multiply-adds.
#pragma once

#include "cpu/isa.h"

namespace expansive {
namespace {

template <int kTileRows, int kVectors>
void project(const ProjectTask& task) {
  constexpr int kColumns = kVectors * Vector::kWidth;
  Sum sum[kTileRows][kVectors];
  for (int r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = zero_sum();
  }
  const uint32_t* columns = task.basis;
  for (int64_t j = 0; j < task.words; ++j, columns += kColumns) {
    Column column[kVectors];
    for (int v = 0; v < kVectors; ++v) column[v] = load_column(columns + v * Vector::kWidth);
    for (int r = 0; r < kTileRows; ++r) {
      const uint32_t word = task.rows[r * task.stride + j];
      for (int v = 0; v < kVectors; ++v) sum[r][v] = multiply_add(word, column[v], sum[r][v]);
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    if (r >= task.count) break;
    double* out = task.sums + r * task.sums_stride;
    for (int v = 0; v < kVectors; ++v, out += Vector::kWidth) add_to_doubles(sum[r][v], out);
  }
}

}  // namespace
}  // namespace expansive
