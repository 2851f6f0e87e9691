// Synthetic rows on the CPU: draw by counter, gather two rows, interpolate, store.
//
// Where x outgrows the caches, the rows of a task are made base by base: a base and its few
// partners are then read from memory about once a task, not once a row. Each row still goes where
// it belongs.
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
constexpr int64_t kOrderedElementsPerTask = int64_t{1} << 27;
constexpr int64_t kOrderedRowsPerTask = int64_t{1} << 18;
constexpr int64_t kBuckets = int64_t{1} << 16;

struct Recipe {
  int64_t row;  // of the output
  int64_t base;
  int64_t partner;
  double weight;
};

// Puts recipes of equal bases next to each other: a counting sort by the base's place in x.
void order_by_base(const std::vector<Recipe>& recipes, int64_t n, std::vector<Recipe>& ordered) {
  const int64_t per_bucket = divide_up(n, kBuckets);
  thread_local std::vector<int64_t> start;
  start.assign(static_cast<size_t>(divide_up(n, per_bucket) + 1), 0);
  for (const Recipe& recipe : recipes) ++start[static_cast<size_t>(recipe.base / per_bucket + 1)];
  for (size_t bucket = 1; bucket < start.size(); ++bucket) start[bucket] += start[bucket - 1];
  ordered.resize(recipes.size());
  for (const Recipe& recipe : recipes) {
    ordered[static_cast<size_t>(start[static_cast<size_t>(recipe.base / per_bucket)]++)] = recipe;
  }
}

int64_t rows_per_task(Rows x, int64_t n, int threads, bool ordered) {
  if (!ordered) return std::max<int64_t>(1, kElementsPerTask / x.d);
  const int64_t fitting = std::min(kOrderedRowsPerTask, kOrderedElementsPerTask / x.d);
  return std::clamp<int64_t>(divide_up(n, threads), 1, std::max<int64_t>(1, fitting));
}

// Makes out.n rows; recipe_of(i) says of what.
template <typename RecipeOf>
void make_rows(Rows x, const RecipeOf& recipe_of, int threads, Interrupt& interrupt,
               MutableRows out) {
  check(x.d == out.d, "out and x differ in features");
  const Kernels& chosen = kernels();
  const auto interpolate =
      chosen.interpolate[static_cast<int>(x.dtype)][static_cast<int>(out.dtype)];
  const bool stream = out.n * out.d * size_of(out.dtype) > kStreamedBytes;
  const bool order = stream && x.n * x.d * size_of(x.dtype) > kGatheredBytes;
  const int64_t per_task = rows_per_task(x, out.n, threads, order);
  parallel_for(divide_up(out.n, per_task), threads, interrupt, [&](int64_t task, int) {
    thread_local std::vector<Recipe> recipes, ordered;
    recipes.clear();
    const int64_t end = std::min(out.n, (task + 1) * per_task);
    for (int64_t i = task * per_task; i < end; ++i) recipes.push_back(recipe_of(i));
    if (order) {
      order_by_base(recipes, x.n, ordered);
      recipes.swap(ordered);
    }
    constexpr size_t kAhead = 2;  // rows asked for before they are interpolated
    for (size_t i = 0; i < recipes.size(); ++i) {
      if (i + kAhead < recipes.size()) {
        prefetch_row(x, recipes[i + kAhead].base);
        prefetch_row(x, recipes[i + kAhead].partner);
      }
      const Recipe& recipe = recipes[i];
      interpolate({x.row(recipe.base), x.row(recipe.partner), out.row(recipe.row), x.d,
                   recipe.weight, stream});
    }
    chosen.fence_streams();
  });
}

}  // namespace

void synthesize(Rows x, const Partners& partners, const int64_t* rows, int threads,
                Interrupt& interrupt, MutableRows out) {
  const bool wide = x.dtype == DType::float64;
  const auto recipe_of = [&](int64_t i) -> Recipe {
    const Draw drawn = draw(partners, rows[i]);
    return {i, drawn.base, drawn.partner,
            wide ? weight_float64(partners, drawn.u)
                 : static_cast<double>(weight_float32(partners, drawn.u))};
  };
  make_rows(x, recipe_of, threads, interrupt, out);
}

void interpolate_rows(Rows x, const int64_t* base, const int64_t* partner, const double* weight,
                      int threads, Interrupt& interrupt, MutableRows out) {
  const auto recipe_of = [&](int64_t i) -> Recipe { return {i, base[i], partner[i], weight[i]}; };
  make_rows(x, recipe_of, threads, interrupt, out);
}

}  // namespace expansive
