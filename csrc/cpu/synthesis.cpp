// Synthetic rows on the CPU: draw by counter, gather two rows, interpolate, store.
#include "expansive/synthesis.h"

#include <algorithm>
#include <cmath>

#include "cpu/integers.h"
#include "cpu/isa.h"
#include "cpu/prefetch.h"
#include "cpu/threads.h"
#include "expansive/check.h"
#include "expansive/philox.h"

namespace expansive {
namespace {

constexpr int64_t kStreamedBytes = int64_t{8} << 20;  // an output this large leaves no cache useful
constexpr int64_t kElementsPerTask = int64_t{1} << 16;

int64_t scale(uint32_t word, int64_t n) {
  return static_cast<int64_t>((uint64_t{word} * static_cast<uint64_t>(n)) >> 32);
}

double weight(const Partners& partners, uint32_t u, DType dtype) {
  if (dtype == DType::float64) return weight_float64(partners, u);
  return static_cast<double>(weight_float32(partners, u));
}

}  // namespace

Draw draw(const Partners& partners, int64_t row) {
  const Philox4 random = philox_of_row(static_cast<uint64_t>(row), partners.seed);
  const int64_t* starts = partners.sample_start;
  const int64_t group = std::upper_bound(starts, starts + partners.n_classes + 1, row) - starts - 1;
  const int64_t first_base = partners.base_start[group];
  const int64_t base =
      first_base + scale(random.word[0], partners.base_start[group + 1] - first_base);
  const int64_t first_partner = partners.partner_start[base];
  const int64_t partner =
      first_partner + scale(random.word[1], partners.partner_start[base + 1] - first_partner);
  return {partners.bases[base], partners.partners[partner], random.word[2] >> 8};
}

float weight_float32(const Partners& partners, uint32_t u) {
  const float low = static_cast<float>(partners.low), high = static_cast<float>(partners.high);
  return std::fma(static_cast<float>(u) * 0x1p-24f, high - low, low);
}

double weight_float64(const Partners& partners, uint32_t u) {
  return std::fma(static_cast<double>(u) * 0x1p-24, partners.high - partners.low, partners.low);
}

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
