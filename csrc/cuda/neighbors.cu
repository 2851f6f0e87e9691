#include <algorithm>

#include "cuda/arena.h"
#include "cuda/bounds.h"
#include "cuda/kernels.h"
#include "cuda/neighbors.h"
#include "cuda/runtime.h"
#include "cuda/tiles.h"
#include "expansive/check.h"

namespace expansive::cuda {
namespace {

// Scratch of a search, for `count` queries at a time.
struct Workspace {
  uint16_t* images;
  double* wide;
  double* norms;
  double* errors;
  double* row_scales;
  float* values;
  char* candidates;  // null where they fit shared memory
};

Workspace lay_out(Arena& arena, int64_t n, int64_t d, int64_t k, int64_t count) {
  const int64_t slots = fits_shared_memory(k) ? 0 : candidate_slots(k);
  Workspace parts{};
  parts.images = arena.take<uint16_t>(count * padded_features(d));
  parts.wide = arena.take<double>(count * d);
  parts.norms = arena.take<double>(count);
  parts.errors = arena.take<double>(count);
  parts.row_scales = arena.take<double>(count);
  parts.values = arena.take<float>(count * divide_up(n, tile_rows(d)));
  if (slots > 0) {
    parts.candidates = arena.take<char>(select_blocks_in_device_memory(k) * slots * kSlotBytes);
  }
  return parts;
}

struct DatabaseParts {
  double* centre;
  double* row_scales;  // null unless the metric is cosine
  DatabaseImages images;
};

DatabaseParts lay_out(Arena& arena, int64_t n, int64_t d, Metric metric) {
  const int64_t padded = round_up(n, kWideBlockRows);
  DatabaseParts parts{};
  parts.centre = arena.take<double>(d);
  if (metric == Metric::cosine) parts.row_scales = arena.take<double>(n);
  parts.images = {arena.take<uint16_t>(padded * padded_features(d)), arena.take<float>(padded),
                  arena.take<double>(divide_up(n, tile_rows(d)) + 1)};
  return parts;
}

}  // namespace

int64_t database_bytes(int64_t n, int64_t d, Metric metric) {
  Arena arena(nullptr);
  lay_out(arena, n, d, metric);
  return arena.used();
}

int64_t workspace_bytes(int64_t n, int64_t q, int64_t d, int64_t k, int64_t budget) {
  Arena arena(nullptr);
  lay_out(arena, n, d, std::min(k, n), queries_at_a_time(n, q, d, budget));
  return arena.used();
}

Database::Database(Rows rows, double largest, const uint32_t* order, Metric metric, void* memory,
                   cudaStream_t stream)
    : rows_(rows), order_(order), metric_(metric) {
  check(rows.d <= kMostFeatures, "rows have more than 2^18 features; use the CPU backend");
  check(rows.n < int64_t{0xFFFFFFFF} - 1024, "x has more than 2^32 - 1025 rows; split it");
  Arena arena(memory);
  const DatabaseParts parts = lay_out(arena, rows.n, rows.d, metric);
  const RowList list{rows, order, 0, rows.n};
  const bool cosine = metric == Metric::cosine;
  if (cosine) find_row_scales(list, parts.row_scales, stream);
  find_centre(list, parts.row_scales, parts.centre, stream);
  // Unit vectors are at most 2 apart once centred.
  space_ = {parts.centre, cosine ? 0.5 : find_scale(largest), parts.row_scales};
  images_ = parts.images;
  make_images(list, space_, images_, stream);
}

void Database::search(const Points& points, int64_t k, Relation relation, bool squared,
                      int64_t budget, void* workspace, const Chip& chip, const Neighbors& out,
                      cudaStream_t stream) const {
  check(points.rows.d == rows_.d, "queries and rows differ in features");
  check(relation == Relation::any || points.class_begin != nullptr, "this relation needs labels");
  const int64_t n = rows_.n, d = rows_.d, q = points.rows.n, wanted = std::min(k, n);
  const int64_t at_a_time = queries_at_a_time(n, q, d, budget);
  Arena arena(workspace);
  const Workspace parts = lay_out(arena, n, d, wanted, at_a_time);
  for (int64_t first = 0; first < q; first += at_a_time) {
    const RowList list{points.rows, points.order, first, std::min(at_a_time, q - first)};
    Space space{space_.centre, space_.scale, nullptr};
    if (metric_ == Metric::cosine) {
      find_row_scales(list, parts.row_scales, stream);
      space.row_scales = parts.row_scales;
    }
    make_images(list, space, QueryImages{parts.images, parts.wide, parts.norms, parts.errors},
                stream);
    ClassRanges classes{nullptr, nullptr};
    if (relation != Relation::any) {
      classes = {points.class_begin + first, points.class_end + first};
    }
    screen({parts.images, images_.images, images_.negated_half_norms, parts.values, list.count, n,
            d, tile_rows(d), relation, classes},
           chip, stream);
    select({rows_,
            order_,
            space_.row_scales,
            images_.tile_errors,
            space_.scale,
            parts.values,
            parts.wide,
            parts.norms,
            parts.errors,
            classes,
            points.order,
            points.own_rows,
            first,
            list.count,
            wanted,
            relation,
            metric_,
            squared,
            parts.candidates,
            out,
            k},
           stream);
  }
}

}  // namespace expansive::cuda
