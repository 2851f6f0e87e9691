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
  double* scale;
  double* row_scales;
  uint16_t* images;
  float* negated_half_norms;
  double* tile_errors;
};

DatabaseParts lay_out(Arena& arena, int64_t n, int64_t d, Metric metric) {
  const int64_t padded = round_up(n, kBlockRows);
  DatabaseParts parts{};
  parts.centre = arena.take<double>(d);
  parts.scale = arena.take<double>(1);
  if (metric == Metric::cosine) parts.row_scales = arena.take<double>(n);
  parts.images = arena.take<uint16_t>(padded * padded_features(d));
  parts.negated_half_norms = arena.take<float>(padded);
  parts.tile_errors = arena.take<double>(divide_up(n, tile_rows(d)));
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
  centre_ = parts.centre;
  scale_ = parts.scale;
  row_scales_ = parts.row_scales;
  images_ = parts.images;
  negated_half_norms_ = parts.negated_half_norms;
  tile_errors_ = parts.tile_errors;
  const RowList list{rows, order, 0, rows.n};
  if (metric == Metric::cosine) {
    find_row_scales(list, row_scales_, stream);
    set_scale(0.5, scale_, stream);  // unit vectors, at most 2 apart once centred
  } else {
    set_scale(find_scale(largest), scale_, stream);
  }
  find_centre(list, row_scales_, centre_, stream);
  make_images(list, {centre_, scale_, row_scales_},
              DatabaseImages{images_, negated_half_norms_, tile_errors_}, stream);
}

void Database::search(const Points& points, int64_t k, Relation relation, bool squared,
                      int64_t budget, void* workspace, int multiprocessors, const Neighbors& out,
                      cudaStream_t stream) const {
  check(points.rows.d == rows_.d, "queries and rows differ in features");
  check(relation == Relation::any || points.class_begin != nullptr, "this relation needs labels");
  const int64_t n = rows_.n, d = rows_.d, q = points.rows.n, wanted = std::min(k, n);
  const int64_t at_a_time = queries_at_a_time(n, q, d, budget);
  Arena arena(workspace);
  const Workspace parts = lay_out(arena, n, d, wanted, at_a_time);
  for (int64_t first = 0; first < q; first += at_a_time) {
    const RowList list{points.rows, points.order, first, std::min(at_a_time, q - first)};
    Space space{centre_, scale_, nullptr};
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
    screen({parts.images, images_, negated_half_norms_, parts.values, list.count, n,
            padded_features(d), tile_rows(d), relation, classes},
           multiprocessors, stream);
    select({rows_,
            order_,
            row_scales_,
            tile_errors_,
            scale_,
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
