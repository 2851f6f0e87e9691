#include "cpu/query_images.h"

#include <algorithm>
#include <numeric>

#include "cpu/integers.h"
#include "cpu/spatial_order.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kQueriesPerTask = 64;

}  // namespace

int64_t QueryImages::bytes_per_query(const Database& database) {
  return database.images.stride() * 4 + database.image_bytes() +
         static_cast<int64_t>(sizeof(Image)) + (database.bytes ? 8 + kBoxDims * 8 : 4);
}

QueryImages::QueryImages(const SearchPlan& plan, int64_t first, int64_t end, int threads,
                         Interrupt& interrupt)
    : plan_(plan),
      first_(first),
      stride_(plan.database.images.stride()),
      words_((end - first) * stride_),
      byte_data_((end - first) * plan.database.image_bytes() / 4),
      byte_errors_(static_cast<size_t>(plan.database.bytes ? end - first : 0)),
      images_(static_cast<size_t>(end - first)),
      slots_(images_.size()) {
  std::iota(slots_.begin(), slots_.end(), 0u);
  const int64_t per_task = std::max(kQueriesPerTask, plan.database.images.group());
  parallel_for(divide_up(size(), per_task), threads, interrupt, [&](int64_t task, int) {
    make(task * per_task, std::min(size(), (task + 1) * per_task));
  });
  if (plan.database.images.rotates()) sort(threads, interrupt);
}

void QueryImages::make(int64_t from, int64_t end) {
  const Database& database = plan_.database;
  const DType dtype = plan_.queries.rows.dtype;
  std::vector<ScaledRow> rows;
  for (int64_t i = from; i < end; ++i) rows.push_back(plan_.scaled_query(query(i)));
  database.make_images(rows.data(), end - from, dtype,
                       {words_.data() + from * stride_, images_.data() + from, byte_image_at(from),
                        byte_errors_.data() + from});
}

void QueryImages::sort(int threads, Interrupt& interrupt) {
  const Database& database = plan_.database;
  const int64_t dims = database.box_dims();
  std::vector<float> points(static_cast<size_t>(size() * dims), 0.0f);
  for (int64_t i = 0; i < size(); ++i) {
    database.images.lead(words(i), dims, points.data() + i * dims);
  }
  slots_ = spatial_order(points.data(), dims, slots_, class_runs(), database.kernels->tile_queries,
                         threads, interrupt);
}

// Runs of queries of one class.
std::vector<Range> QueryImages::class_runs() const {
  if (plan_.relation == Relation::any) return {{0, size()}};
  std::vector<Range> runs;
  for (int64_t i = 0; i < size(); ++i) {
    const auto code = [&](int64_t place) { return plan_.queries.codes[query(place)]; };
    if (i == 0 || code(i) != code(i - 1)) runs.push_back({i, i});
    runs.back().end = i + 1;
  }
  return runs;
}

}  // namespace expansive
