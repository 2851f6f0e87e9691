// Synthetic rows on the CPU: draw by counter, gather two rows, interpolate, store.
//
// Where x outgrows the caches, rows are made base by base: a base and its few partners are then
// read from memory about once, not once a row. Each row still goes where it belongs. Order costs a
// pass of drawing bases and one of counting; what is left is bound by writing.
#include "expansive/synthesis.h"

#include <algorithm>
#include <vector>

#include "cpu/integers.h"
#include "cpu/isa.h"
#include "cpu/prefetch.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

constexpr int64_t kStreamedBytes = int64_t{8} << 20;  // an output this large leaves no cache useful
constexpr int64_t kGatheredBytes = int64_t{8} << 20;  // an x this large does not stay in a cache
constexpr int64_t kElementsPerTask = int64_t{1} << 16;
constexpr int64_t kOrderedRows = int64_t{1} << 20;  // ordered together
constexpr int64_t kMostBuckets = int64_t{1} << 14;
constexpr int64_t kRecipesAtOnce = 64;

struct Recipe {
  int64_t base;
  int64_t partner;
  double weight;
};

// The numbers 0 to n - 1 with rows of the same key next to each other, and of near keys near: a
// counting sort into buckets of keys, in which order does not matter. Keys are below n_keys.
template <typename KeyOf>
std::vector<uint32_t> order_by_key(int64_t n, int64_t n_keys, const KeyOf& key_of, int threads,
                                   Interrupt& interrupt) {
  int shift = 0;
  while (((n_keys - 1) >> shift) >= kMostBuckets) ++shift;
  const int64_t n_buckets = ((n_keys - 1) >> shift) + 1, per_part = divide_up(n, int64_t{threads});
  const int64_t n_parts = divide_up(n, per_part);
  std::vector<uint16_t> buckets(static_cast<size_t>(n));
  std::vector<std::vector<uint32_t>> next(static_cast<size_t>(n_parts));
  const auto for_parts = [&](const auto& body) {
    parallel_for(n_parts, threads, interrupt, [&](int64_t part, int) {
      const int64_t end = std::min(n, (part + 1) * per_part);
      std::vector<uint32_t>& mine = next[static_cast<size_t>(part)];
      for (int64_t i = part * per_part; i < end; ++i) body(static_cast<size_t>(i), mine);
    });
  };
  for (std::vector<uint32_t>& mine : next) mine.assign(static_cast<size_t>(n_buckets), 0);
  for_parts([&](size_t i, std::vector<uint32_t>& counts) {
    buckets[i] = static_cast<uint16_t>(key_of(static_cast<int64_t>(i)) >> shift);
    ++counts[buckets[i]];
  });
  uint32_t before = 0;
  for (size_t bucket = 0; bucket < static_cast<size_t>(n_buckets); ++bucket) {
    for (std::vector<uint32_t>& mine : next) {
      const uint32_t count = mine[bucket];
      mine[bucket] = before;
      before += count;
    }
  }
  std::vector<uint32_t> order(static_cast<size_t>(n));
  for_parts([&](size_t i, std::vector<uint32_t>& places) {
    order[places[buckets[i]]++] = static_cast<uint32_t>(i);
  });
  return order;
}

// Makes rows of an output, in any order.
class Maker {
 public:
  Maker(Rows x, MutableRows out)
      : x_(x),
        out_(out),
        kernels_(kernels()),
        streams_(out.n * out.d * size_of(out.dtype) > kStreamedBytes),
        interpolate_(kernels_.interpolate[static_cast<int>(x.dtype)][static_cast<int>(out.dtype)]) {
  }

  // Whether it pays to make rows of the same base one after the other.
  bool wants_order() const { return streams_ && x_.n * x_.d * size_of(x_.dtype) > kGatheredBytes; }
  int64_t rows_per_task() const { return std::max<int64_t>(1, kElementsPerTask / x_.d); }

  // Makes `count` rows: the number of the i-th is row_of(i), and recipe_of(row) says of what.
  template <typename RowOf, typename RecipeOf>
  void make(int64_t count, const RowOf& row_of, const RecipeOf& recipe_of) const {
    const int64_t row_bytes = x_.d * size_of(x_.dtype);
    Recipe recipes[kRecipesAtOnce];
    for (int64_t from = 0; from < count; from += kRecipesAtOnce) {
      const int64_t n = std::min(kRecipesAtOnce, count - from);
      for (int64_t i = 0; i < n; ++i) recipes[i] = recipe_of(row_of(from + i));
      for (int64_t i = 0; i < n; ++i) {
        constexpr int64_t kAhead = 2;  // rows asked for before they are interpolated
        if (i + kAhead < n) {
          prefetch_row(x_.row(recipes[i + kAhead].base), row_bytes);
          prefetch_row(x_.row(recipes[i + kAhead].partner), row_bytes);
        }
        interpolate_({x_.row(recipes[i].base), x_.row(recipes[i].partner),
                      out_.row(row_of(from + i)), x_.d, recipes[i].weight, streams_});
      }
    }
    kernels_.fence_streams();
  }

 private:
  Rows x_;
  MutableRows out_;
  const Kernels& kernels_;
  bool streams_;
  void (*interpolate_)(const InterpolateTask&);
};

// Makes out.n rows; recipe_of(i) says of what, and key_of(i), below n_keys, of which base.
template <typename KeyOf, typename RecipeOf>
void make_rows(Rows x, const KeyOf& key_of, int64_t n_keys, const RecipeOf& recipe_of, int threads,
               Interrupt& interrupt, MutableRows out) {
  check(x.d == out.d, "out and x differ in features");
  const Maker maker(x, out);
  const int64_t per_task = maker.rows_per_task();
  const int64_t together = maker.wants_order() ? kOrderedRows : out.n;
  for (int64_t first = 0; first < out.n; first += together) {
    const int64_t n = std::min(together, out.n - first);
    std::vector<uint32_t> order;
    if (maker.wants_order()) {
      order =
          order_by_key(n, n_keys, [&](int64_t i) { return key_of(first + i); }, threads, interrupt);
    }
    parallel_for(divide_up(n, per_task), threads, interrupt, [&](int64_t task, int) {
      const int64_t from = task * per_task, count = std::min(per_task, n - from);
      if (order.empty()) {
        maker.make(count, [&](int64_t i) { return first + from + i; }, recipe_of);
      } else {
        maker.make(
            count, [&](int64_t i) { return first + order[static_cast<size_t>(from + i)]; },
            recipe_of);
      }
    });
  }
}

}  // namespace

void synthesize(Rows x, const Partners& partners, RowNumbers rows, int threads,
                Interrupt& interrupt, MutableRows out) {
  const bool wide = x.dtype == DType::float64;
  const auto key_of = [&](int64_t i) { return draw_base(partners, rows[i]); };
  const auto recipe_of = [&](int64_t i) -> Recipe {
    const Draw drawn = draw(partners, rows[i]);
    return {drawn.base, drawn.partner,
            wide ? weight_float64(partners, drawn.u)
                 : static_cast<double>(weight_float32(partners, drawn.u))};
  };
  make_rows(x, key_of, partners.base_start[partners.n_classes], recipe_of, threads, interrupt, out);
}

void interpolate_rows(Rows x, const int64_t* base, const int64_t* partner, const double* weight,
                      int threads, Interrupt& interrupt, MutableRows out) {
  const auto recipe_of = [&](int64_t i) -> Recipe { return {base[i], partner[i], weight[i]}; };
  make_rows(x, [&](int64_t i) { return base[i]; }, x.n, recipe_of, threads, interrupt, out);
}

}  // namespace expansive
