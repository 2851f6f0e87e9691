#include "expansive/scan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/hash.h"
#include "cpu/integers.h"
#include "cpu/isa.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

constexpr int64_t kElementsPerTask = int64_t{1} << 18;

}  // namespace

Scan scan(Rows rows, int threads, Interrupt& interrupt) {
  check(rows.d > 0, "rows have no features");
  const int64_t per_task = std::max<int64_t>(1, kElementsPerTask / rows.d);
  const int64_t tasks = divide_up(rows.n, per_task);
  std::vector<Scan> parts(static_cast<size_t>(tasks));
  const auto largest_magnitude = kernels().largest_magnitude[static_cast<int>(rows.dtype)];
  parallel_for(tasks, threads, interrupt, [&](int64_t task, int) {
    Scan part;
    const int64_t end = std::min(rows.n, (task + 1) * per_task);
    for (int64_t i = task * per_task; i < end && part.first_bad_row < 0; ++i) {
      const double largest = largest_magnitude(rows.row(i), rows.d);
      if (!std::isfinite(largest)) part.first_bad_row = i;
      part.largest = std::max(part.largest, largest);
    }
    parts[static_cast<size_t>(task)] = part;
  });
  Scan whole;
  for (const Scan& part : parts) {
    if (part.first_bad_row >= 0)
      return {part.first_bad_row, std::numeric_limits<double>::infinity()};
    whole.largest = std::max(whole.largest, part.largest);
  }
  return whole;
}

uint64_t fingerprint(Rows rows, int threads, Interrupt& interrupt) {
  const int64_t size = rows.n * rows.d * size_of(rows.dtype), words = divide_up(size, 8);
  const int64_t tasks = divide_up(words, kElementsPerTask);
  std::vector<uint64_t> parts(static_cast<size_t>(tasks));
  parallel_for(tasks, threads, interrupt, [&](int64_t task, int) {
    parts[static_cast<size_t>(task)] = hash_words(rows.data, size, task * kElementsPerTask,
                                                  std::min(words, (task + 1) * kElementsPerTask));
  });
  return std::accumulate(parts.begin(), parts.end(), uint64_t{0});
}

}  // namespace expansive
