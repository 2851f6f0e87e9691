// Certified-exact search on the CPU: group by class, pack, screen, refine.
//
// For few queries rows are taken as they are. For more, the database is packed in one stretch if
// memory allows, else in several that pass by one after the other. Queries are cut into blocks;
// when they are few, each block's way through a stretch is cut too, into shares whose finds are
// merged.
#include "expansive/neighbors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>

#include "cpu/direct.h"
#include "cpu/floating_point.h"
#include "cpu/integers.h"
#include "cpu/panels.h"
#include "cpu/query_block.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

constexpr int64_t kBlockBytes = 1 << 20;  // of query images
constexpr int64_t kBlockQueries = 512;

template <typename T>
void write(const std::vector<Neighbor>& nearest, Metric metric, int64_t k, T* distance,
           int64_t* index) {
  for (int64_t i = 0; i < k; ++i) {
    const bool found = i < static_cast<int64_t>(nearest.size());
    distance[i] =
        found
            ? static_cast<T>(distance_of(nearest[static_cast<size_t>(i)].squared_distance, metric))
            : std::numeric_limits<T>::infinity();
    index[i] = found ? nearest[static_cast<size_t>(i)].row : -1;
  }
}

void write(const std::vector<Neighbor>& nearest, Metric metric, int64_t k, int64_t query,
           const Neighbors& out) {
  const int64_t start = query * k;
  if (out.wide) {
    write(nearest, metric, k, static_cast<double*>(out.distance) + start, out.index + start);
  } else {
    write(nearest, metric, k, static_cast<float*>(out.distance) + start, out.index + start);
  }
}

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

// Numbers that the search would follow out of its tables.
void check_queries(const Queries& queries, const Database& database) {
  const auto all_in = [&](const int64_t* numbers, int64_t end) {
    return numbers == nullptr || std::all_of(numbers, numbers + queries.rows.n,
                                             [end](int64_t v) { return v >= -1 && v < end; });
  };
  check(all_in(queries.codes, database.grouping.n_classes()),
        "query codes must be in [0, n_classes), or -1");
  check(all_in(queries.own_rows, database.rows.n), "own_rows must be rows of the database, or -1");
}

// How the queries of a search are cut, and what of the database is packed at a time.
struct Cut {
  int64_t block;    // queries that go through the database together
  int64_t shares;   // of a block's way through a stretch, when there are more threads than blocks
  int64_t stretch;  // positions of the database
  int64_t batch;    // queries whose blocks are all kept while stretches pass by
};

Cut cut(const SearchPlan& plan, const Resources& resources, int64_t stretch) {
  const Database& database = plan.database;
  const int64_t n = plan.queries.rows.n, tile = database.kernels->tile_queries;
  const int64_t even_share = divide_up(n, int64_t{4} * resources.threads);
  const int64_t fitting = std::min(
      {kBlockQueries, kBlockBytes / (database.images.words() * 4),
       resources.memory_budget / 4 / resources.threads / QueryBlock::bytes_per_query(plan)});
  // As many blocks for each thread: none is left waiting for a last one.
  const int64_t blocks = round_up(
      divide_up(n, std::clamp<int64_t>(even_share, 1, std::max(fitting, tile))), resources.threads);
  const int64_t block = round_up(divide_up(n, blocks), tile);
  const int64_t kept = resources.memory_budget / 4 /
                       (QueryBlock::bytes_per_query(plan) + QueryImages::bytes_per_query(database));
  return {block, std::max<int64_t>(1, resources.threads / divide_up(n, block)), stretch,
          std::max(block, kept / block * block)};
}

// The blocks of a batch of queries on their way through the database, stretch by stretch.
class Batch {
 public:
  Batch(const SearchPlan& plan, const Cut& cut, const QueryImages& queries, int64_t k,
        const Neighbors& out)
      : plan_(plan),
        cut_(cut),
        queries_(queries),
        k_(k),
        out_(out),
        blocks_(divide_up(queries.size(), cut.block)),
        active_(static_cast<size_t>(blocks_ * cut.shares)),
        pending_(static_cast<size_t>(blocks_)) {}

  void visit(const Panels& panels, int threads, Interrupt& interrupt) {
    worst_ = worse(worst_, panels.worst());
    const int64_t n_panels =
        divide_up(panels.end() - panels.first(), plan_.database.kernels->panel_columns);
    const bool last = panels.end() == plan_.database.rows.n;
    const std::vector<float> hiding = hide_copies(panels);
    const float* half_norms = hiding.empty() ? panels.negated_half_norms() : hiding.data();
    parallel_for(blocks_ * cut_.shares, threads, interrupt, [&](int64_t task, int worker) {
      const int64_t share = task % cut_.shares, number = task / cut_.shares;
      std::unique_ptr<QueryBlock>& mine = active_[static_cast<size_t>(task)];
      if (!mine) {
        const int64_t begin = number * cut_.block;
        mine = std::make_unique<QueryBlock>(plan_, queries_, begin,
                                            std::min(queries_.size(), begin + cut_.block));
      }
      mine->visit(panels, half_norms, n_panels * share / cut_.shares,
                  n_panels * (share + 1) / cut_.shares, worst_, interrupt, worker);
      if (last) finish(number, std::move(mine));
    });
  }

 private:
  // A block's shares as they finish: the last one to come writes the result.
  struct Pending {
    std::mutex mutex;
    std::unique_ptr<QueryBlock> merged;
    int64_t finished = 0;
  };

  // Half norms with what is no neighbour hidden; none where there is nothing to hide.
  std::vector<float> hide_copies(const Panels& panels) const {
    const Database& database = plan_.database;
    if (!database.copies.any_hidden(plan_.k)) return {};
    const float* all = panels.negated_half_norms();
    std::vector<float> hiding(
        all, all + round_up(panels.end() - panels.first(), database.kernels->panel_columns));
    database.copies.hide(plan_.k, database.grouping, database.kernels->elements, panels.first(),
                         hiding);
    return hiding;
  }

  void finish(int64_t number, std::unique_ptr<QueryBlock> share) {
    Pending& result = pending_[static_cast<size_t>(number)];
    const std::lock_guard lock(result.mutex);
    if (result.merged) {
      result.merged->merge(*share);
    } else {
      result.merged = std::move(share);
    }
    if (++result.finished < cut_.shares) return;
    for (int64_t i = 0; i < result.merged->size(); ++i) {
      write(result.merged->nearest(i), plan_.database.metric, k_, result.merged->query(i), out_);
    }
    result.merged.reset();
  }

  const SearchPlan& plan_;
  const Cut& cut_;
  const QueryImages& queries_;
  int64_t k_;
  const Neighbors& out_;
  int64_t blocks_;
  std::vector<std::unique_ptr<QueryBlock>> active_;
  std::vector<Pending> pending_;
  Image worst_;
};

}  // namespace

struct NeighborIndex::Impl {
  Database database;
  bool labelled;
  std::optional<Panels> resident;  // the whole database, if that pays and fits the budget

  // Positions packed at a time under a budget: whole panels, three quarters of it.
  int64_t stretch_length(const Resources& resources) const {
    const int64_t width = database.kernels->panel_columns;
    const int64_t panels = resources.memory_budget / 4 * 3 / Panels::bytes(database, width);
    return std::max<int64_t>(1, panels) * width;
  }
};

NeighborIndex::NeighborIndex(Rows rows, double largest, const int64_t* codes, int64_t n_classes,
                             Metric metric, Basis basis, Expected expected, Resources resources,
                             Interrupt& interrupt)
    : impl_(nullptr) {
  check(resources.threads > 0, "threads must be at least 1");
  const DefaultFloatingPoint environment;
  impl_.reset(new Impl{make_database(rows, largest, codes, n_classes, metric, basis, expected,
                                     resources.threads, interrupt),
                       codes != nullptr, std::nullopt});
  Database& database = impl_->database;
  if (expected.queries <= few_queries(rows.dtype, metric)) return;
  database.copies = Copies(rows, database.grouping, resources.threads, interrupt);
  if (impl_->stretch_length(resources) < rows.n) return;
  impl_->resident.emplace(database, rows.n);
  if (database.images.rotates()) {
    impl_->resident->pack_sorted(database, resources.threads, interrupt);
  } else {
    impl_->resident->pack(database, 0, rows.n, resources.threads, interrupt);
  }
}

NeighborIndex::~NeighborIndex() = default;
NeighborIndex::NeighborIndex(NeighborIndex&&) noexcept = default;

const char* NeighborIndex::isa() const { return impl_->database.kernels->name; }

void NeighborIndex::search(const Queries& queries, int64_t k, Relation relation,
                           Resources resources, Interrupt& interrupt, const Neighbors& out) const {
  const DefaultFloatingPoint environment;
  const Database& database = impl_->database;
  check(k > 0 && resources.threads > 0, "k and threads must be at least 1");
  check(queries.rows.d == database.rows.d, "queries and rows differ in features");
  check(relation == Relation::any || (queries.codes != nullptr && impl_->labelled),
        "this relation needs labels");
  check_queries(queries, database);
  if (queries.rows.n == 0) return;
  std::vector<double> query_scales;
  if (database.metric == Metric::cosine) {
    query_scales = find_row_scales(queries.rows, *database.kernels, resources.threads, interrupt);
  }
  const std::vector<int64_t> order = class_order(queries, relation);
  const int64_t n = database.rows.n, reachable = std::min(k, n);
  const SearchPlan plan{database, queries, query_scales, order, reachable, relation};
  if (!impl_->resident && may_search_directly(plan, resources)) {
    std::vector<Nearest> nearest = search_directly(plan, resources.threads, interrupt);
    for (int64_t i = 0; i < queries.rows.n; ++i) {
      write(nearest[static_cast<size_t>(i)].sorted(), database.metric, k, i, out);
    }
    return;
  }
  const Cut pieces =
      cut(plan, resources, impl_->resident ? n : std::min(n, impl_->stretch_length(resources)));

  std::optional<Panels> passing;
  if (!impl_->resident) passing.emplace(database, pieces.stretch);
  for (int64_t first = 0; first < queries.rows.n; first += pieces.batch) {
    const QueryImages images(plan, first, std::min(queries.rows.n, first + pieces.batch),
                             resources.threads, interrupt);
    Batch batch(plan, pieces, images, k, out);
    for (int64_t from = 0; from < n; from += pieces.stretch) {
      const int64_t length = std::min(pieces.stretch, n - from);
      if (passing) passing->pack(database, from, length, resources.threads, interrupt);
      batch.visit(passing ? *passing : *impl_->resident, resources.threads, interrupt);
    }
  }
}

}  // namespace expansive
