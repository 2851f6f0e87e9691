#include "cpu/roughness.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/byte_reach.h"
#include "cpu/integers.h"
#include "cpu/row_sample.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kMostSampled = 4096, kLeastSampled = 256;
constexpr int64_t kSampledValues = int64_t{1} << 20;
constexpr int64_t kProbes = 16;
constexpr int64_t kFar = 32;  // rank of the sampled neighbour that tells how distances grow
constexpr double kLargestScale = 0x1p400;  // a query of 2^500 then has a finite place

// Costs relative to what bytes save of a feature of a pair: of a candidate beyond the k nearest,
// alone and for each feature (less where rows are read for many queries at once), with what the
// many cost that come before the first limits. Those are fewer for each of more neighbours.
constexpr double kCandidate = 30'000.0, kCandidateFeature = 75.0, kJointFeature = 50.0;
constexpr double kUsualK = 10.0, kFewer = 0.3;
constexpr double kFewestCandidates = 8.0;  // beyond the k nearest, of rows that are worth a look
// Features of pairs for which bytes save as much as a look at the rows takes.
constexpr double kFewestProducts = 0x1p30;

// Squared distances of the i-th row of a sample from all others.
std::vector<double> squared_distances(const RowSample& sample, int64_t i, const Rows& rows,
                                      const Kernels& kernels,
                                      const std::vector<double>& row_scales) {
  std::vector<double> query(static_cast<size_t>(round_up(rows.d, 8)));
  sample.widen(i, query.data());
  std::vector<int64_t> others;
  for (int64_t other = 0; other < sample.size(); ++other) {
    if (other != i) others.push_back(sample.row(other));
  }
  std::vector<double> squared(others.size());
  kernels.refine_rows[static_cast<int>(rows.dtype)](
      {query.data(), rows.data, rows.d, row_scales.empty() ? nullptr : row_scales.data(),
       others.data(), static_cast<int64_t>(others.size()), std::numeric_limits<double>::infinity(),
       squared.data()});
  return squared;
}

// What the sample tells of the k nearest of all rows.
struct Neighbourhood {
  std::vector<double> limits;  // squared distances of the k-th, for each probe
  double limit;                // the median of these
  double growth;               // distances squared grow like this power of the rank
};

// Within a distance r there are about r^D rows, and the sample's own distances tell D; a probe's
// neighbours among all rows are nearer than those in the sample. Every other probe's nearest has a
// rank below kMedianRank.
Neighbourhood find_neighbourhood(std::vector<std::vector<double>>& squared, double rank) {
  constexpr double kMedianRank = 0.693;
  Neighbourhood found;
  std::vector<double> growths;
  for (std::vector<double>& distances : squared) {
    const auto far = distances.begin() + kFar - 1;
    std::nth_element(distances.begin(), far, distances.end());
    const double near = std::max(*std::min_element(distances.begin(), far), 1e-300);
    growths.push_back(std::log(std::max(*far / near, 1.001)) / std::log(kFar / kMedianRank));
    found.limits.push_back(*far);
  }
  found.growth = median(growths);  // 2 / D
  for (double& limit : found.limits) limit *= std::pow(rank / kFar, found.growth);
  std::vector<double> some = found.limits;
  found.limit = median(some);
  return found;
}

// What the screen adds to squared distances, with steps of some length.
struct Blur {
  double error;     // of an image: roundings to whole numbers
  bool by_lengths;  // these bound distances better than distances do
  double spread;
  double lost;  // of most rows' squared lengths, by drawing in

  Blur(const ByteReach& reach, const Neighbourhood& neighbourhood, const Extent& extent, int64_t d)
      : error(std::sqrt(static_cast<double>(d) / 12.0) * reach.step),
        by_lengths(extent.spread < std::sqrt(neighbourhood.limit) + error),
        spread(extent.spread) {
    std::vector<double> some = reach.lost;
    lost = some.empty() ? 0.0 : median(some);
  }

  double beyond(double limit) const {
    return 4.0 * error * (by_lengths ? spread : std::sqrt(limit) + error) + 2.0 * lost;
  }
};

// About how many candidates there are, up to a factor. To a row that is drawn in as many others
// come nearer as if its limit were looser.
double rank_candidates(const ByteReach& reach, const Blur& blur, const Neighbourhood& neighbourhood,
                       double most) {
  const auto candidates = [&](double lost) {
    const double farther =
        1.0 + (blur.beyond(neighbourhood.limit) + lost) / std::max(neighbourhood.limit, 1e-300);
    return std::min(most, std::pow(farther, 1.0 / neighbourhood.growth));
  };
  const double usual = candidates(0.0);
  double sum = 0.0;
  for (const double lost : reach.lost) {
    sum += lost <= blur.lost ? usual : candidates(lost - blur.lost);
  }
  return sum;
}

// How many rows of the sample are seen within the limits, for each probe.
double count_within(const std::vector<std::vector<double>>& squared,
                    const Neighbourhood& neighbourhood, const Blur& blur) {
  int64_t within = 0;
  for (size_t i = 0; i < squared.size(); ++i) {
    const double limit = neighbourhood.limits[i];
    const double seen = limit + blur.beyond(limit);
    within += std::count_if(squared[i].begin(), squared[i].end(),
                            [=](double distance) { return distance <= seen; });
  }
  return static_cast<double>(within) / static_cast<double>(squared.size());
}

// Beyond the k nearest, that cost as much as what screening by bytes saves.
double most_candidates(const Screened& screened) {
  const double features = static_cast<double>(screened.d);
  const double each = screened.jointly ? kJointFeature : kCandidateFeature;
  const double cost =
      (kCandidate + each * features) / std::pow(static_cast<double>(screened.k) / kUsualK, kFewer);
  return features * static_cast<double>(screened.n) / cost;
}

}  // namespace

Roughness find_roughness(const Rows& rows, const Kernels& kernels,
                         const std::vector<double>& row_scales, const Extent& extent, int64_t k,
                         int threads, Interrupt& interrupt) {
  constexpr Roughness kNone = {0.0, std::numeric_limits<double>::infinity()};
  const RowSample sample(rows, kernels, row_scales,
                         std::clamp(kSampledValues / rows.d, kLeastSampled, kMostSampled));
  const std::vector<ByteReach> reaches =
      find_reaches(sample, kernels.elements, extent.centre, rows.d, threads, interrupt);
  const auto scale = [&](size_t reach) { return 1.0 / reaches[reach].step; };
  if (scale(0) > kLargestScale) return kNone;
  if (sample.size() <= kFar) return {scale(0), kNone.candidates};
  std::vector<std::vector<double>> squared(kProbes);
  parallel_for(kProbes, threads, interrupt, [&](int64_t probe, int) {
    squared[static_cast<size_t>(probe)] =
        squared_distances(sample, probe * sample.size() / kProbes, rows, kernels, row_scales);
  });
  const double share = static_cast<double>(sample.size()) / static_cast<double>(rows.n);
  const Neighbourhood neighbourhood = find_neighbourhood(squared, static_cast<double>(k) * share);
  const double most = static_cast<double>(rows.n) / static_cast<double>(k);
  const Blur usual(reaches[0], neighbourhood, extent, rows.d);
  Roughness found = {scale(0), count_within(squared, neighbourhood, usual) / share};
  double fewest = std::numeric_limits<double>::infinity();
  for (size_t reach = 0; reach < reaches.size() && scale(reach) <= kLargestScale; ++reach) {
    const Blur blur(reaches[reach], neighbourhood, extent, rows.d);
    const double candidates = rank_candidates(reaches[reach], blur, neighbourhood, most);
    if (!(candidates < fewest)) continue;
    fewest = candidates;
    found = {scale(reach), found.candidates, blur.error, blur.lost, blur.by_lengths};
  }
  return found;
}

bool bytes_pay(const Roughness& roughness, const Screened& screened) {
  return roughness.candidates - static_cast<double>(screened.k) < most_candidates(screened);
}

bool bytes_may_pay(const Screened& screened) {
  const double products = static_cast<double>(screened.queries) * static_cast<double>(screened.n) *
                          static_cast<double>(screened.d);
  return products > kFewestProducts && most_candidates(screened) > kFewestCandidates;
}

}  // namespace expansive
