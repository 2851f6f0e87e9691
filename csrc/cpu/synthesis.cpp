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

double weight(const Partners& partners, uint32_t u, DType dtype) {
  if (dtype == DType::float64) return weight_float64(partners, u);
  return static_cast<double>(weight_float32(partners, u));
}

}  // namespace

void synthesize(Rows x, const Partners& partners, const int64_t* rows, int threads,
                Interrupt& interrupt, MutableRows out) {
  check(x.d == out.d, "out and x differ in features");
  const Kernels& chosen = kernels();
  const auto interpolate =
      chosen.interpolate[static_cast<int>(x.dtype)][static_cast<int>(out.dtype)];
  const bool stream = out.n * out.d * size_of(out.dtype) > kStreamedBytes;
  const int64_t per_task = std::max<int64_t>(1, kElementsPerTask / x.d);
  parallel_for(divide_up(out.n, per_task), threads, interrupt, [&](int64_t task, int) {
    const int64_t end = std::min(out.n, (task + 1) * per_task);
    constexpr int64_t kAhead = 2;  // rows drawn and asked for before they are interpolated
    Draw drawn_ahead[kAhead];
    const auto look_ahead = [&](int64_t i) {
      Draw& next = drawn_ahead[i % kAhead];
      next = draw(partners, rows[i]);
      prefetch_row(x, next.base);
      prefetch_row(x, next.partner);
    };
    for (int64_t i = task * per_task; i < std::min(end, task * per_task + kAhead); ++i) {
      look_ahead(i);
    }
    for (int64_t i = task * per_task; i < end; ++i) {
      const Draw drawn = drawn_ahead[i % kAhead];
      if (i + kAhead < end) look_ahead(i + kAhead);
      interpolate({x.row(drawn.base), x.row(drawn.partner), out.row(i), x.d,
                   weight(partners, drawn.u, x.dtype), stream});
    }
    chosen.fence_streams();
  });
}

}  // namespace expansive
