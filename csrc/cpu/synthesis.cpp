// Synthetic rows on the CPU: draw by counter, gather two rows, interpolate, store.
//
// Where x outgrows the caches, rows are made base by base: a base and its few partners are then
// read from memory about once, not once a row. Each row still goes where it belongs. Order costs a
// pass of drawing bases and one of counting; what is left is bound by writing.
#include "expansive/synthesis.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/integers.h"
#include "cpu/isa.h"
#include "cpu/prefetch.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

constexpr int64_t kStreamedBytes = int64_t{8} << 20;  // an output this large leaves no cache useful
constexpr int64_t kGatheredBytes = int64_t{8} << 20;  // an x this large does not stay in a cache
constexpr int64_t kElementsPerTask = int64_t{1} << 16;  // at least
constexpr int64_t kTasksPerThread = 16;                 // at most: a task's fence takes a while
constexpr int64_t kOrderedRows = int64_t{1} << 20;      // ordered together
constexpr int64_t kMostBuckets = int64_t{1} << 14;
constexpr int64_t kAtOnce = 512;  // rows drawn together

struct Recipe {
  int64_t base;
  int64_t partner;
  double weight;
};

// What rows are made of, by their places in the output: as a plan draws them by counter.
class Drawn {
 public:
  Drawn(const Partners& partners, RowNumbers rows, bool wide)
      : partners_(partners), rows_(rows), wide_(wide), kernels_(kernels()) {}

  // Near keys belong to bases that are near each other in the order of classes.
  int64_t n_keys() const { return partners_.base_start[partners_.n_classes]; }
  void keys(const int64_t* places, int64_t count, int64_t* keys) const {
    const Words words(*this, places, count);
    for (int64_t i = 0; i < count; ++i) {
      keys[i] = pick_base(partners_, words.rows[i], words.drawn[0][i]);
    }
  }

  void recipes(const int64_t* places, int64_t count, Recipe* recipes) const {
    const Words words(*this, places, count);
    for (int64_t i = 0; i < count; ++i) {
      const Draw drawn = pick_all(partners_, words.rows[i], words.drawn[0][i], words.drawn[1][i],
                                  words.drawn[2][i]);
      recipes[i] = {drawn.base, drawn.partner,
                    wide_ ? weight_float64(partners_, drawn.u)
                          : static_cast<double>(weight_float32(partners_, drawn.u))};
    }
  }

 private:
  struct Words {
    Words(const Drawn& from, const int64_t* places, int64_t count) {
      for (int64_t i = 0; i < count; ++i) rows[i] = from.rows_[places[i]];
      from.kernels_.draw_words({rows, count, from.partners_.seed, {drawn[0], drawn[1], drawn[2]}});
    }
    int64_t rows[kAtOnce];
    uint32_t drawn[3][kAtOnce];
  };

  const Partners& partners_;
  RowNumbers rows_;
  bool wide_;
  const Kernels& kernels_;
};

// The same for recipes that are given.
class Given {
 public:
  Given(int64_t n_rows, const int64_t* base, const int64_t* partner, const double* weight)
      : n_rows_(n_rows), base_(base), partner_(partner), weight_(weight) {}

  int64_t n_keys() const { return n_rows_; }
  void keys(const int64_t* places, int64_t count, int64_t* keys) const {
    for (int64_t i = 0; i < count; ++i) keys[i] = base_[places[i]];
  }
  void recipes(const int64_t* places, int64_t count, Recipe* recipes) const {
    for (int64_t i = 0; i < count; ++i) {
      recipes[i] = {base_[places[i]], partner_[places[i]], weight_[places[i]]};
    }
  }

 private:
  int64_t n_rows_;
  const int64_t *base_, *partner_;
  const double* weight_;
};

// Visits the numbers from `begin` to `end` - 1, many at once.
template <typename Visit>
void visit_many(int64_t begin, int64_t end, const Visit& visit) {
  for (int64_t from = begin; from < end; from += kAtOnce) {
    visit(from, std::min(kAtOnce, end - from));
  }
}

// Places first to first + n - 1 in an order in which rows of the same base are next to each other,
// and of near ones near: a counting sort into buckets of keys, in which order does not matter.
// Each number is less `first`.
template <typename Source>
AlignedWords order_by_base(const Source& source, int64_t first, int64_t n, int threads,
                           Interrupt& interrupt) {
  int shift = 0;
  while (((source.n_keys() - 1) >> shift) >= kMostBuckets) ++shift;
  const int64_t n_buckets = ((source.n_keys() - 1) >> shift) + 1;
  const int64_t per_part = divide_up(n, int64_t{threads}), n_parts = divide_up(n, per_part);
  std::vector<uint16_t> buckets(static_cast<size_t>(n));
  std::vector<std::vector<uint32_t>> next(static_cast<size_t>(n_parts));
  parallel_for(n_parts, threads, interrupt, [&](int64_t part, int) {
    std::vector<uint32_t>& counts = next[static_cast<size_t>(part)];
    counts.assign(static_cast<size_t>(n_buckets), 0);
    visit_many(part * per_part, std::min(n, (part + 1) * per_part),
               [&](int64_t from, int64_t many) {
                 int64_t places[kAtOnce], keys[kAtOnce];
                 std::iota(places, places + many, first + from);
                 source.keys(places, many, keys);
                 for (int64_t i = 0; i < many; ++i) {
                   const auto bucket = static_cast<uint16_t>(keys[i] >> shift);
                   buckets[static_cast<size_t>(from + i)] = bucket;
                   ++counts[bucket];
                 }
               });
  });
  uint32_t before = 0;
  for (size_t bucket = 0; bucket < static_cast<size_t>(n_buckets); ++bucket) {
    for (std::vector<uint32_t>& mine : next) {
      const uint32_t count = mine[bucket];
      mine[bucket] = before;
      before += count;
    }
  }
  AlignedWords order(n);
  parallel_for(n_parts, threads, interrupt, [&](int64_t part, int) {
    std::vector<uint32_t>& places = next[static_cast<size_t>(part)];
    for (int64_t i = part * per_part; i < std::min(n, (part + 1) * per_part); ++i) {
      order.data()[places[buckets[static_cast<size_t>(i)]]++] = static_cast<uint32_t>(i);
    }
  });
  return order;
}

// Makes rows of an output, in any order.
template <typename Source>
class Maker {
 public:
  Maker(Rows x, const Source& source, MutableRows out)
      : x_(x),
        source_(source),
        out_(out),
        kernels_(kernels()),
        streams_(out.n * out.d * size_of(out.dtype) > kStreamedBytes),
        interpolate_(kernels_.interpolate[static_cast<int>(x.dtype)][static_cast<int>(out.dtype)]) {
  }

  // Whether it pays to make rows of the same base one after the other.
  bool wants_order() const { return streams_ && x_.n * x_.d * size_of(x_.dtype) > kGatheredBytes; }

  int64_t rows_per_task(int64_t n, int threads) const {
    return std::max({int64_t{1}, kElementsPerTask / x_.d, n / (kTasksPerThread * threads)});
  }

  // Makes the rows from `begin` to `end` - 1, where the i-th goes to place_of(i).
  template <typename PlaceOf>
  void make(int64_t begin, int64_t end, const PlaceOf& place_of) const {
    visit_many(begin, end, [&](int64_t from, int64_t many) {
      int64_t places[kAtOnce];
      Recipe recipes[kAtOnce];
      for (int64_t i = 0; i < many; ++i) places[i] = place_of(from + i);
      source_.recipes(places, many, recipes);
      make_some(places, recipes, many);
    });
    kernels_.fence_streams();
  }

 private:
  void make_some(const int64_t* places, const Recipe* recipes, int64_t count) const {
    constexpr int64_t kAskedBytes = 32 << 10, kMostAhead = 16;
    const int64_t row_bytes = x_.d * size_of(x_.dtype);
    const int64_t ahead = rows_ahead(kAskedBytes, 2 * row_bytes, kMostAhead);
    const auto ask = [&](int64_t i) {
      const bool asked = i > 0 && recipes[i].base == recipes[i - 1].base;
      if (!asked) prefetch_row(x_.row(recipes[i].base), row_bytes);
      prefetch_row(x_.row(recipes[i].partner), row_bytes);
    };
    visit_ahead(count, ahead, ask, [&](int64_t i) {
      interpolate_({x_.row(recipes[i].base), x_.row(recipes[i].partner), out_.row(places[i]), x_.d,
                    recipes[i].weight, streams_});
    });
  }

  Rows x_;
  const Source& source_;
  MutableRows out_;
  const Kernels& kernels_;
  bool streams_;
  void (*interpolate_)(const InterpolateTask&);
};

template <typename Source>
void make_rows(Rows x, const Source& source, int threads, Interrupt& interrupt, MutableRows out) {
  check(x.d == out.d, "out and x differ in features");
  check(x.d > 0 && threads > 0, "features and threads must be at least 1");
  const Maker<Source> maker(x, source, out);
  const auto make = [&](int64_t n, const auto& place_of) {
    const int64_t per_task = maker.rows_per_task(n, threads);
    parallel_for(divide_up(n, per_task), threads, interrupt, [&](int64_t task, int) {
      maker.make(task * per_task, std::min(n, (task + 1) * per_task), place_of);
    });
  };
  if (!maker.wants_order()) return make(out.n, [](int64_t i) { return i; });
  for (int64_t first = 0; first < out.n; first += kOrderedRows) {
    const int64_t n = std::min(kOrderedRows, out.n - first);
    const AlignedWords order = order_by_base(source, first, n, threads, interrupt);
    make(n, [&](int64_t i) { return first + order.data()[i]; });
  }
}

}  // namespace

void synthesize(Rows x, const Partners& partners, RowNumbers rows, int threads,
                Interrupt& interrupt, MutableRows out) {
  make_rows(x, Drawn(partners, rows, x.dtype == DType::float64), threads, interrupt, out);
}

void interpolate_rows(Rows x, const int64_t* base, const int64_t* partner, const double* weight,
                      int threads, Interrupt& interrupt, MutableRows out) {
  make_rows(x, Given(x.n, base, partner, weight), threads, interrupt, out);
}

}  // namespace expansive
