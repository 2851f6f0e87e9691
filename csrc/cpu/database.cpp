#include "cpu/database.h"

#include <cmath>
#include <limits>
#include <string>

#include "cpu/extent.h"
#include "cpu/integers.h"
#include "cpu/roughness.h"
#include "cpu/threads.h"
#include "expansive/check.h"

namespace expansive {
namespace {

constexpr int64_t kRowsPerTask = 4096;
constexpr double kLargestValue = 0x1p500;  // squared distances of 2^20 such features are finite
constexpr int64_t kSampledRows = 255, kFewSampledRows = 63;  // for the extent

// The power of two that rows, when they are centred, are multiplied by: coordinates below 1 (where
// centring may double the largest), or the most that most rows fit their elements' ball with.
double find_scale(const Elements& elements, double largest, const Extent& extent) {
  constexpr int kLargest = 1000;
  if (largest == 0.0) return 1.0;
  if (!elements.whole) return std::ldexp(1.0, std::min(-std::ilogb(largest) - 2, kLargest));
  // Rows that are not sampled may lie farther out, but the few farthest of all must not leave the
  // others too few whole numbers.
  constexpr double kFartherOut = 2.0, kMostSpreads = 64.0;
  const double far = std::min(kFartherOut * extent.farthest, kMostSpreads * extent.spread);
  const double fits = far > 0.0 ? far : 2.0 * largest;
  return std::ldexp(1.0, std::min(std::ilogb(elements.radius / fits), kLargest));
}

// What screens the rows, by how much they are multiplied for that, and what bounds their distances.
struct Screening {
  const Kernels* kernels;
  double scale;
  double lost = 0.0;  // of a row's squared length there, by drawing in
  std::optional<LengthBounds> by_lengths = std::nullopt;
};

void check_basis(const Basis& basis, int64_t d) {
  check(basis.rank >= 0 && basis.rank <= d, "the basis has more directions than features");
  constexpr float kLongest = 0x1p20f;  // sums of products with images stay within float32
  check(std::all_of(basis.data, basis.data + basis.rank * d,
                    [](float v) { return std::fabs(v) <= kLongest; }),
        "the basis is not finite, or longer than 2^20");
}

// About how many rows a query searches: of friends, those of its class, in the mean over all rows.
int64_t count_searched(const Grouping& grouping, Relation relation) {
  if (relation != Relation::friendly) return grouping.size();
  double pairs = 0.0;
  for (const Range& friends : grouping.classes()) {
    const double size = static_cast<double>(friends.end - friends.begin);
    pairs += size * size;
  }
  return static_cast<int64_t>(pairs / static_cast<double>(grouping.size()));
}

// Bytes only for some k, and only where they pay or the caller's environment asks for them.
Screening choose_screening(const Rows& rows, const Kernels& best,
                           const std::vector<double>& row_scales, const Extent& extent,
                           double largest, const Screened& screened, int threads,
                           Interrupt& interrupt) {
  const bool may_pay = screened.k > 0 && (isa_is_given() || bytes_may_pay(screened));
  if (best.finer != nullptr && may_pay && rows.d <= best.elements.most_features) {
    const Roughness found =
        find_roughness(rows, best, row_scales, extent, screened.k, threads, interrupt);
    const bool pays = isa_is_given() || bytes_pay(found, screened);
    if (found.scale > 0.0 && pays) {
      Screening by_bytes{&best, found.scale, found.lost * found.scale * found.scale};
      if (found.by_lengths) {
        by_bytes.by_lengths.emplace(found.scale, rows.d, extent.spread * found.scale,
                                    found.error * found.scale);
      }
      return by_bytes;
    }
  }
  const Kernels& fine = finest(best);
  return {&fine, find_scale(fine.elements, largest, extent)};
}

}  // namespace

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
    if (std::isfinite(scales[i])) continue;
    check(false, "row " + std::to_string(i) +
                     " is too short for the cosine metric: its squared norm underflows; rescale "
                     "the rows or drop it");
  }
  return scales;
}

Database make_database(Rows rows, double largest, const int64_t* codes, int64_t n_classes,
                       Metric metric, Basis basis, Expected expected, int threads,
                       Interrupt& interrupt) {
  check(rows.n > 0 && rows.d > 0, "there are no rows, or they have no features");
  check(rows.d <= kMostFeatures, "rows have more than 2^20 features");
  check(largest >= 0.0 && largest <= kLargestValue, "rows hold values beyond 2^500; rescale them");
  check_basis(basis, rows.d);
  Grouping grouping(codes, rows.n, n_classes);
  const Kernels& best = kernels();
  std::vector<double> row_scales;
  if (metric == Metric::cosine) {
    row_scales = find_row_scales(rows, best, threads, interrupt);
    largest = 1.0;
  }
  // Few queries look at rows as they are: the extent only serves if there are more than expected.
  const bool are_few = expected.queries <= few_queries(rows.dtype, metric);
  const Extent extent = find_extent(rows, best, row_scales,
                                    are_few ? kFewSampledRows : kSampledRows, threads, interrupt);
  const bool may_be_rough = basis.rank == 0 && !are_few;
  const Screened screened{expected.queries, count_searched(grouping, expected.relation), rows.d,
                          may_be_rough ? expected.k : 0, estimates_jointly(rows, metric)};
  const auto [table, scale, lost, by_lengths] =
      choose_screening(rows, best, row_scales, extent, largest, screened, threads, interrupt);
  const Kernels& chosen = *table;
  ImageMaker images(chosen, extent.centre, scale, rows.d, basis);
  std::optional<ByteMaker> bytes;
  if (images.rotates()) bytes.emplace(chosen, extent.low, extent.high, scale, rows.d);
  const double near = images.rotates() ? extent.spread * scale : 0.0;
  const ScreenSpace space(scale, rows.d, images.length(), near, lost, chosen, by_lengths);
  return {rows,
          metric,
          &chosen,
          std::move(grouping),
          std::move(images),
          std::move(bytes),
          space,
          std::move(row_scales)};
}

void Database::make_images(const ScaledRow* scaled, int64_t count, DType dtype,
                           const ImagesOut& out) const {
  // In groups, so that both kinds are made while the rows are in a cache.
  for (int64_t from = 0; from < count; from += images.group()) {
    const int64_t end = std::min(count, from + images.group());
    images.make(scaled + from, end - from, dtype, out.words + from * images.stride(),
                out.images + from);
    for (int64_t i = from; bytes && i < end; ++i) {
      out.byte_errors[i] = bytes->make(scaled[i], dtype, out.byte_images + i * bytes->bytes());
    }
  }
}

}  // namespace expansive
