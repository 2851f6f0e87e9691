// Certified-exact search on the CPU: group by class, pack, screen, refine.
//
// The database is packed in one stretch if memory allows, else in several that pass by one after
// the other. Queries are cut into blocks; when they are few, each block's way through a stretch is
// cut too, into shares whose finds are merged.
#include "expansive/neighbors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>

#include "cpu/integers.h"
#include "cpu/panels.h"
#include "cpu/query_block.h"
#include "cpu/scan.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

constexpr int64_t kBlockBytes = 512 << 10;  // of query images
constexpr int64_t kBlockQueries = 384;
constexpr int64_t kRowsPerTask = 4096;
constexpr int64_t kSampledRows = 255;

// Reciprocal norms of all rows: what makes Euclidean distance of the scaled rows the cosine's.
std::vector<double> find_row_scales(const Rows& rows, const Kernels& kernels, int threads,
                                    Interrupt& interrupt) {
  std::vector<double> scales(static_cast<size_t>(rows.n));
  const std::vector<double> origin(static_cast<size_t>(round_up(rows.d, 8)), 0.0);
  const auto squared_distance = kernels.refine[static_cast<int>(rows.dtype)];
  parallel_for(divide_up(rows.n, kRowsPerTask), threads, interrupt, [&](int64_t task, int) {
    const int64_t end = std::min(rows.n, (task + 1) * kRowsPerTask);
    for (int64_t i = task * kRowsPerTask; i < end; ++i) {
      scales[static_cast<size_t>(i)] =
          1.0 / std::sqrt(squared_distance(origin.data(), rows.row(i), 1.0, rows.d,
                                           std::numeric_limits<double>::infinity()));
    }
  });
  for (size_t i = 0; i < scales.size(); ++i) {
    check(std::isfinite(scales[i]), "row " + std::to_string(i) +
                                        " is too short for the cosine metric: its squared norm "
                                        "underflows; rescale the rows or drop it");
  }
  return scales;
}

// A centre amid the data: any would do, a good one makes the screen's bounds tight. The median of
// each coordinate over some rows, because a mean would follow a single huge value.
std::vector<double> find_centre(const Rows& rows, const Kernels& kernels,
                                const std::vector<double>& row_scales) {
  const size_t padded = static_cast<size_t>(round_up(rows.d, 8));
  const int64_t sampled = std::min(rows.n, kSampledRows);
  std::vector<double> sample(static_cast<size_t>(sampled) * padded);
  for (int64_t i = 0; i < sampled; ++i) {
    const int64_t picked = i * rows.n / sampled;
    const double scale = row_scales.empty() ? 1.0 : row_scales[static_cast<size_t>(picked)];
    kernels.widen[static_cast<int>(rows.dtype)](rows.row(picked), scale, rows.d,
                                                sample.data() + static_cast<size_t>(i) * padded);
  }
  std::vector<double> median(padded), values(static_cast<size_t>(sampled));
  for (size_t j = 0; j < padded; ++j) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = sample[i * padded + j];
    const auto middle = values.begin() + sampled / 2;
    std::nth_element(values.begin(), middle, values.end());
    median[j] = *middle;
  }
  return median;
}

// The power of two that brings centred coordinates below 1 (centring may double the largest).
double find_scale(const Rows& rows, int threads, Interrupt& interrupt) {
  const Scan found = scan(rows, threads, interrupt);
  check(found.first_bad_row < 0, "row " + std::to_string(found.first_bad_row) + " is not finite");
  if (found.largest == 0.0) return 1.0;
  return std::ldexp(1.0, std::min(-std::ilogb(found.largest) - 2, 1000));
}

Database make_database(Rows rows, const int64_t* codes, int64_t n_classes, Metric metric,
                       Basis basis, int threads, Interrupt& interrupt) {
  check(rows.d <= kMostFeatures, "rows have more than 2^20 features");
  const Kernels& chosen = kernels();
  std::vector<double> row_scales;
  if (metric == Metric::cosine) row_scales = find_row_scales(rows, chosen, threads, interrupt);
  const double scale = metric == Metric::cosine ? 0.5 : find_scale(rows, threads, interrupt);
  ImageMaker images(chosen, find_centre(rows, chosen, row_scales), scale, rows.d, basis);
  const ScreenSpace space(scale, rows.d, images.length(), chosen);
  // Folding the lanes of the second screen costs a few roundings more.
  const ScreenSpace rescreen_space(scale, rows.d, images.rescreen_length() + 16, chosen);
  return {rows,
          metric,
          &chosen,
          Grouping(codes, rows.n, n_classes),
          std::move(images),
          space,
          rescreen_space,
          std::move(row_scales)};
}

double finish(double squared_distance, Metric metric) {
  if (metric == Metric::euclidean) return std::sqrt(squared_distance);
  return metric == Metric::cosine ? 0.5 * squared_distance : squared_distance;
}

template <typename T>
void write(const std::vector<Neighbor>& nearest, Metric metric, int64_t k, T* distance,
           int64_t* index) {
  for (int64_t i = 0; i < k; ++i) {
    const bool found = i < static_cast<int64_t>(nearest.size());
    distance[i] =
        found ? static_cast<T>(finish(nearest[static_cast<size_t>(i)].squared_distance, metric))
              : std::numeric_limits<T>::infinity();
    index[i] = found ? nearest[static_cast<size_t>(i)].row : -1;
  }
}

void write(QueryBlock& block, Metric metric, int64_t k, const Neighbors& out) {
  for (int64_t i = 0; i < block.size(); ++i) {
    const int64_t start = block.query(i) * k;
    if (out.wide) {
      write(block.nearest(i), metric, k, static_cast<double*>(out.distance) + start,
            out.index + start);
    } else {
      write(block.nearest(i), metric, k, static_cast<float*>(out.distance) + start,
            out.index + start);
    }
  }
}

// A block's shares as they finish: the last one to come writes the result.
struct Pending {
  std::mutex mutex;
  std::unique_ptr<QueryBlock> merged;
  int64_t finished = 0;
};

// Queries by class, so that a tile's queries share their relation's ranges.
std::vector<int64_t> class_order(const Queries& queries, Relation relation) {
  std::vector<int64_t> order(static_cast<size_t>(queries.rows.n));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (relation != Relation::any) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return queries.codes[a] < queries.codes[b]; });
  }
  return order;
}

}  // namespace

struct NeighborIndex::Impl {
  Database database;
  std::optional<Panels> resident;  // the whole database, if it fits the budget

  // Positions packed at a time under a budget: whole panels, three quarters of it.
  int64_t stretch_length(const Resources& resources) const {
    const int64_t width = database.kernels->panel_columns;
    const int64_t panels = resources.memory_budget * 3 / 4 / Panels::bytes(database, width);
    return std::max<int64_t>(1, panels) * width;
  }
};

NeighborIndex::NeighborIndex(Rows rows, const int64_t* codes, int64_t n_classes, Metric metric,
                             Basis basis, Resources resources, Interrupt& interrupt)
    : impl_(new Impl{
          make_database(rows, codes, n_classes, metric, basis, resources.threads, interrupt),
          std::nullopt}) {
  if (impl_->stretch_length(resources) >= rows.n) {
    impl_->resident.emplace(impl_->database, 0, rows.n, resources.threads, interrupt);
  }
}

NeighborIndex::~NeighborIndex() = default;
NeighborIndex::NeighborIndex(NeighborIndex&&) noexcept = default;

void NeighborIndex::search(const Queries& queries, int64_t k, Relation relation,
                           Resources resources, Interrupt& interrupt, const Neighbors& out) const {
  const Database& database = impl_->database;
  check(queries.rows.d == database.rows.d, "queries and rows differ in features");
  check(relation == Relation::any || queries.codes != nullptr, "this relation needs labels");
  std::vector<double> query_scales;
  if (database.metric == Metric::cosine) {
    query_scales = find_row_scales(queries.rows, *database.kernels, resources.threads, interrupt);
  }
  const std::vector<int64_t> order = class_order(queries, relation);
  const SearchPlan plan{database, queries, query_scales, order, std::min(k, database.rows.n),
                        relation};

  const int64_t n = queries.rows.n, tile = database.kernels->tile_queries;
  const int64_t even_share = divide_up(n, int64_t{4} * resources.threads);
  const int64_t fitting = std::min(
      {kBlockQueries, kBlockBytes / (database.images.words() * 4),
       resources.memory_budget / 4 / resources.threads / QueryBlock::bytes_per_query(plan)});
  const int64_t block = std::max<int64_t>(1, std::min(even_share, fitting) / tile) * tile;
  const int64_t shares = std::max<int64_t>(1, resources.threads / divide_up(n, block));
  const int64_t stretch = impl_->resident ? database.rows.n : impl_->stretch_length(resources);
  // While stretches pass by, all blocks of a batch are kept.
  const int64_t batch = std::max<int64_t>(
      block, resources.memory_budget / 4 / QueryBlock::bytes_per_query(plan) / block * block);

  for (int64_t first = 0; first < n; first += batch) {
    const int64_t blocks = divide_up(std::min(batch, n - first), block);
    std::vector<std::unique_ptr<QueryBlock>> active(static_cast<size_t>(blocks * shares));
    std::vector<Pending> pending(static_cast<size_t>(blocks));
    Images worst;
    for (int64_t from = 0; from < database.rows.n; from += stretch) {
      const int64_t length = std::min(stretch, database.rows.n - from);
      std::optional<Panels> packed;
      if (!impl_->resident) packed.emplace(database, from, length, resources.threads, interrupt);
      const Panels& panels = impl_->resident ? *impl_->resident : *packed;
      worst = worse(worst, panels.worst());
      const int64_t n_panels = divide_up(length, database.kernels->panel_columns);
      const bool last = from + length == database.rows.n;
      parallel_for(blocks * shares, resources.threads, interrupt, [&](int64_t task, int worker) {
        std::unique_ptr<QueryBlock>& mine = active[static_cast<size_t>(task)];
        const int64_t share = task % shares, number = task / shares;
        if (!mine) {
          const int64_t begin = first + number * block;
          mine = std::make_unique<QueryBlock>(plan, begin, std::min(n, begin + block));
        }
        mine->visit(panels, n_panels * share / shares, n_panels * (share + 1) / shares, worst,
                    interrupt, worker);
        if (!last) return;
        Pending& result = pending[static_cast<size_t>(number)];
        const std::lock_guard lock(result.mutex);
        if (result.merged) {
          result.merged->merge(*mine);
          mine.reset();
        } else {
          result.merged = std::move(mine);
        }
        if (++result.finished < shares) return;
        write(*result.merged, database.metric, k, out);
        result.merged.reset();
      });
    }
  }
}

}  // namespace expansive
