#include "cpu/roughness.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/integers.h"
#include "cpu/row_sample.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kMostSampled = 4096, kLeastSampled = 256;
constexpr int64_t kSampledValues = int64_t{1} << 20;
constexpr int64_t kProbes = 16;
constexpr int64_t kFar = 32;  // rank of the sampled neighbour that tells how distances grow
constexpr int64_t kRowsPerTask = 128;
constexpr int64_t kRowsPerFarOne = 50;     // finer steps for all are worth drawing in a few
constexpr double kLargestScale = 0x1p400;  // a query of 2^500 then has a finite place

// Costs relative to what bytes save of a feature of a pair: of a candidate beyond the k nearest,
// alone and for each feature (less where rows are read for many queries at once), with what the
// many cost that come before the first limits. Those are fewer for each of more neighbours.
constexpr double kCandidate = 30'000.0, kCandidateFeature = 75.0, kJointFeature = 50.0;
constexpr double kUsualK = 10.0, kFewer = 0.3;
constexpr double kFewestCandidates = 8.0;  // beyond the k nearest, of rows that are worth a look
// Features of pairs for which bytes save as much as a look at the rows takes.
constexpr double kFewestProducts = 0x1p30;

// How far a row reaches, in units of what bytes hold as it is.
double reach_of(const Elements& elements, const double* place, const double* centre, int64_t d) {
  const int64_t run = features_per_run(elements);
  double largest = 0.0;
  for (int64_t from = 0; from < d; from += run) {
    double lanes[2] = {};
    for (int64_t j = from; j < std::min(d, from + run); ++j) {
      const double t = place[j] - centre[j];
      largest = std::max(largest, std::fabs(t) / elements.inner_byte);
      lanes[j % 4 / 2] += t * t;
    }
    largest = std::max(largest, std::sqrt(std::max(lanes[0], lanes[1])) / elements.inner_radius);
  }
  return largest;
}

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

double find_byte_scale(const Elements& elements, const RowSample& sample, const Extent& extent,
                       int64_t d, int threads, Interrupt& interrupt) {
  std::vector<double> reaches(static_cast<size_t>(sample.size()));
  parallel_for(divide_up(sample.size(), kRowsPerTask), threads, interrupt, [&](int64_t task, int) {
    std::vector<double> place(static_cast<size_t>(round_up(d, 8)));
    const int64_t end = std::min(sample.size(), (task + 1) * kRowsPerTask);
    for (int64_t i = task * kRowsPerTask; i < end; ++i) {
      sample.widen(i, place.data());
      reaches[static_cast<size_t>(i)] = reach_of(elements, place.data(), extent.centre.data(), d);
    }
  });
  const auto most = reaches.end() - 1 - sample.size() / kRowsPerFarOne;
  std::nth_element(reaches.begin(), most, reaches.end());
  const double scale = 1.0 / *most;
  return scale <= kLargestScale ? scale : 0.0;
}

// Squared distances of the k-th nearest of all rows, for each probe. Within a distance r there are
// about r^D rows, and the sample's own distances tell D; a probe's neighbours among all rows are
// nearer than those in the sample. Every other probe's nearest has a rank below kMedianRank.
std::vector<double> find_limits(std::vector<std::vector<double>>& squared, double rank) {
  constexpr double kMedianRank = 0.693;
  std::vector<double> growths, limits;
  for (std::vector<double>& distances : squared) {
    const auto far = distances.begin() + kFar - 1;
    std::nth_element(distances.begin(), far, distances.end());
    const double near = std::max(*std::min_element(distances.begin(), far), 1e-300);
    growths.push_back(std::log(std::max(*far / near, 1.001)) / std::log(kFar / kMedianRank));
    limits.push_back(*far);
  }
  const double growth = median(growths);  // 2 / D
  for (double& limit : limits) limit *= std::pow(rank / kFar, growth);
  return limits;
}

// How many rows of the sample are within what squared_reach() makes of the limits, for each probe.
template <typename Reach>
double count_within(const std::vector<std::vector<double>>& squared,
                    const std::vector<double>& limits, const Reach& squared_reach) {
  int64_t within = 0;
  for (size_t i = 0; i < squared.size(); ++i) {
    const double reach = squared_reach(limits[i]);
    within += std::count_if(squared[i].begin(), squared[i].end(),
                            [=](double distance) { return distance <= reach; });
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
  const double scale =
      find_byte_scale(kernels.elements, sample, extent, rows.d, threads, interrupt);
  if (scale == 0.0) return kNone;
  if (sample.size() <= kFar) return {scale, kNone.candidates};
  std::vector<std::vector<double>> squared(kProbes);
  parallel_for(kProbes, threads, interrupt, [&](int64_t probe, int) {
    squared[static_cast<size_t>(probe)] =
        squared_distances(sample, probe * sample.size() / kProbes, rows, kernels, row_scales);
  });
  const double share = static_cast<double>(sample.size()) / static_cast<double>(rows.n);
  const std::vector<double> limits = find_limits(squared, static_cast<double>(k) * share);
  // Of an image, roundings to whole numbers.
  const double error = std::sqrt(static_cast<double>(rows.d) / 12.0) / scale;
  std::vector<double> some = limits;
  const bool by_lengths = extent.spread < std::sqrt(median(some)) + error;
  const double within = count_within(squared, limits, [&](double limit) {
    const double distance = std::sqrt(limit) + 2.0 * error;
    return by_lengths ? limit + 4.0 * error * extent.spread : distance * distance;
  });
  return {scale, within / share, error, by_lengths};
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
