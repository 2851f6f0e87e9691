// The kernels of a search, as they are launched one after the other on a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/device.h"
#include "expansive/neighbors.h"
#include "expansive/rows.h"

namespace expansive::cuda {

// What a scan finds, on the device; start with `clear_scan`.
struct ScanResult {
  unsigned long long first_bad_row;  // all ones for none
  unsigned long long largest;        // magnitude, as the bits of a float64
};

void clear_scan(ScanResult* result, cudaStream_t stream);
void scan(const Rows& rows, ScanResult* result, cudaStream_t stream);
// Sets *sum, on the device, to the fingerprint.
void fingerprint(const Rows& rows, unsigned long long* sum, cudaStream_t stream);

// Rows in the order they are worked on: the i-th is rows[order[first + i]], or rows[first + i].
struct RowList {
  Rows rows;
  const uint32_t* order;
  int64_t first;
  int64_t count;
};

// How rows become images: (row * row_scale - centre) * scale, in bfloat16.
struct Space {
  const double* centre;      // [d]
  double scale;              // a power of two
  const double* row_scales;  // [count], null when all are 1
};

// What is made of database rows; `images` and `negated_half_norms` are padded to whole blocks.
struct DatabaseImages {
  uint16_t* images;           // [padded rows × padded features], see fragments.h
  float* negated_half_norms;  // [padded rows], -inf for padding
  double* tile_errors;        // [tiles + 1], the largest of each, and last of all; zeros before
};
// What is made of queries.
struct QueryImages {
  uint16_t* images;  // [padded queries × padded features], see fragments.h
  double* wide;      // [queries][d], the rows in float64, scaled
  double* norms;     // [queries], see query_norm
  double* errors;    // [queries]
};

void find_centre(const RowList& list, const double* row_scales, double* centre,
                 cudaStream_t stream);
void find_row_scales(const RowList& list, double* row_scales, cudaStream_t stream);
void make_images(const RowList& list, const Space& space, const DatabaseImages& out,
                 cudaStream_t stream);
void make_images(const RowList& list, const Space& space, const QueryImages& out,
                 cudaStream_t stream);

// Positions of the classes of queries in class order; null for Relation::any.
struct ClassRanges {
  const uint32_t* begin;
  const uint32_t* end;
};

struct ScreenTask {
  const uint16_t* queries;
  const uint16_t* rows;
  const float* negated_half_norms;
  float* values;  // [queries][tiles]
  int64_t n_queries;
  int64_t n_rows;
  int64_t d;  // features before they were padded
  int tile_rows;
  Relation relation;
  ClassRanges classes;
};
void screen(const ScreenTask& task, const Chip& chip, cudaStream_t stream);
// The same by wgmma, for a chip that has it.
void screen_wide(const ScreenTask& task, const Chip& chip, cudaStream_t stream);

struct SelectTask {
  Rows database;
  const uint32_t* order;      // position -> row, or null
  const double* row_scales;   // [n] by position, or null
  const double* tile_errors;  // [tiles + 1]
  double scale;

  const float* values;
  const double* wide;
  const double* norms;
  const double* errors;
  ClassRanges classes;
  const uint32_t* query_order;  // worked-on query -> query, or null
  const int64_t* own_rows;      // by query, or null
  int64_t first_query;          // of the worked-on ones, number of the first
  int64_t n_queries;

  int64_t k;  // searched for, at most n
  Relation relation;
  Metric metric;
  bool squared;   // leave the distances squared
  void* scratch;  // candidates, where shared memory is too small

  Neighbors out;
  int64_t out_k;  // columns of the result
};
void select(const SelectTask& task, cudaStream_t stream);

}  // namespace expansive::cuda
