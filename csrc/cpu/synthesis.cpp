// Synthetic rows on the CPU: draw by counter, gather two rows, interpolate, store.
#include "expansive/synthesis.h"

#include <algorithm>

#include "cpu/integers.h"
#include "cpu/isa.h"
#include "cpu/prefetch.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

constexpr int64_t kStreamedBytes = int64_t{8} << 20;  // an output this large leaves no cache useful
constexpr int64_t kElementsPerTask = int64_t{1} << 16;

struct Recipe {
  int64_t base;
  int64_t partner;
  double weight;
};

// Makes out.n rows; recipe_of(i) says of what.
template <typename RecipeOf>
void make_rows(Rows x, const RecipeOf& recipe_of, int threads, Interrupt& interrupt,
               MutableRows out) {
  check(x.d == out.d, "out and x differ in features");
  const Kernels& chosen = kernels();
  const auto interpolate =
      chosen.interpolate[static_cast<int>(x.dtype)][static_cast<int>(out.dtype)];
  const bool stream = out.n * out.d * size_of(out.dtype) > kStreamedBytes;
  const int64_t per_task = std::max<int64_t>(1, kElementsPerTask / x.d);
  parallel_for(divide_up(out.n, per_task), threads, interrupt, [&](int64_t task, int) {
    const int64_t end = std::min(out.n, (task + 1) * per_task);
    constexpr int64_t kAhead = 2;  // recipes known and rows asked for before they are interpolated
    Recipe ahead[kAhead];
    const auto look_ahead = [&](int64_t i) {
      Recipe& next = ahead[i % kAhead];
      next = recipe_of(i);
      prefetch_row(x, next.base);
      prefetch_row(x, next.partner);
    };
    for (int64_t i = task * per_task; i < std::min(end, task * per_task + kAhead); ++i) {
      look_ahead(i);
    }
    for (int64_t i = task * per_task; i < end; ++i) {
      const Recipe recipe = ahead[i % kAhead];
      if (i + kAhead < end) look_ahead(i + kAhead);
      interpolate(
          {x.row(recipe.base), x.row(recipe.partner), out.row(i), x.d, recipe.weight, stream});
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
    return {drawn.base, drawn.partner,
            wide ? weight_float64(partners, drawn.u)
                 : static_cast<double>(weight_float32(partners, drawn.u))};
  };
  make_rows(x, recipe_of, threads, interrupt, out);
}

void interpolate_rows(Rows x, const int64_t* base, const int64_t* partner, const double* weight,
                      int threads, Interrupt& interrupt, MutableRows out) {
  const auto recipe_of = [&](int64_t i) -> Recipe { return {base[i], partner[i], weight[i]}; };
  make_rows(x, recipe_of, threads, interrupt, out);
}

}  // namespace expansive
