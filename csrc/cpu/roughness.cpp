#include "cpu/roughness.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/integers.h"
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
// alone and for each feature, with what the many cost that come before the first limits. Those are
// fewer for each of more neighbours.
constexpr double kCandidate = 70'000.0, kCandidateFeature = 200.0;
constexpr double kUsualK = 10.0, kFewer = 0.4;

// How far a row reaches, in units of what bytes hold.
double reach_of(const double* place, const double* centre, int64_t d) {
  double largest = 0.0;
  for (int64_t from = 0; from < d; from += kRunElements) {
    double lanes[2] = {};
    for (int64_t j = from; j < std::min(d, from + kRunElements); ++j) {
      const double t = place[j] - centre[j];
      largest = std::max(largest, std::fabs(t) / kMostByte);
      lanes[j % 4 / 2] += t * t;
    }
    largest = std::max(largest, std::sqrt(std::max(lanes[0], lanes[1])) / kLaneRadius);
  }
  return largest;
}

class Sample {
 public:
  Sample(const Rows& rows, const Kernels& kernels, const std::vector<double>& row_scales)
      : rows_(rows),
        kernels_(kernels),
        row_scales_(row_scales),
        size_(std::min(rows.n, std::clamp(kSampledValues / rows.d, kLeastSampled, kMostSampled))) {}

  int64_t size() const { return size_; }
  int64_t row(int64_t i) const { return i * rows_.n / size_; }

  void widen(int64_t i, std::vector<double>& out) const {
    out.resize(static_cast<size_t>(round_up(rows_.d, 8)));
    const double scale = row_scales_.empty() ? 1.0 : row_scales_[static_cast<size_t>(row(i))];
    kernels_.widen[dtype()](rows_.row(row(i)), scale, rows_.d, out.data());
  }

  // Squared distances of the i-th from all others, ascending.
  std::vector<double> distances(int64_t i) const {
    std::vector<double> query;
    widen(i, query);
    std::vector<int64_t> others;
    for (int64_t other = 0; other < size_; ++other) {
      if (other != i) others.push_back(row(other));
    }
    std::vector<double> squared(others.size());
    kernels_.refine_rows[dtype()]({query.data(), rows_.data, rows_.d,
                                   row_scales_.empty() ? nullptr : row_scales_.data(),
                                   others.data(), static_cast<int64_t>(others.size()),
                                   std::numeric_limits<double>::infinity(), squared.data()});
    std::sort(squared.begin(), squared.end());
    return squared;
  }

 private:
  int dtype() const { return static_cast<int>(rows_.dtype); }

  const Rows& rows_;
  const Kernels& kernels_;
  const std::vector<double>& row_scales_;
  int64_t size_;
};

double find_byte_scale(const Sample& sample, const Extent& extent, int64_t d, int threads,
                       Interrupt& interrupt) {
  std::vector<double> reaches(static_cast<size_t>(sample.size()));
  parallel_for(divide_up(sample.size(), kRowsPerTask), threads, interrupt, [&](int64_t task, int) {
    std::vector<double> place;
    const int64_t end = std::min(sample.size(), (task + 1) * kRowsPerTask);
    for (int64_t i = task * kRowsPerTask; i < end; ++i) {
      sample.widen(i, place);
      reaches[static_cast<size_t>(i)] = reach_of(place.data(), extent.centre.data(), d);
    }
  });
  const auto most = reaches.end() - 1 - sample.size() / kRowsPerFarOne;
  std::nth_element(reaches.begin(), most, reaches.end());
  const double scale = 1.0 / *most;
  return scale <= kLargestScale ? scale : 0.0;
}

// Within a distance r there are about r^D rows, and the sample's own distances tell D; a probe's
// neighbours among all rows are nearer than those in the sample.
double count_candidates(const Sample& sample, int64_t n, int64_t k, double error, int threads,
                        Interrupt& interrupt) {
  const int64_t probes = std::min(kProbes, sample.size());
  std::vector<std::vector<double>> squared(static_cast<size_t>(probes));
  parallel_for(probes, threads, interrupt, [&](int64_t probe, int) {
    squared[static_cast<size_t>(probe)] = sample.distances(probe * sample.size() / probes);
  });
  const double share = static_cast<double>(sample.size()) / static_cast<double>(n);
  std::vector<double> growths;
  for (const std::vector<double>& distances : squared) {
    const double near = std::max(distances.front(), 1e-300);
    growths.push_back(std::log(std::max(distances[kFar - 1] / near, 1.001)) / std::log(kFar));
  }
  std::nth_element(growths.begin(), growths.begin() + probes / 2, growths.end());
  const double growth = growths[static_cast<size_t>(probes / 2)];  // 2 / D
  double within = 0.0;
  for (const std::vector<double>& distances : squared) {
    const double rank = static_cast<double>(k) * share;
    const double limit = distances.front() * std::pow(rank, growth);
    const double reach = std::sqrt(limit) + error;
    within += static_cast<double>(
        std::upper_bound(distances.begin(), distances.end(), reach * reach) - distances.begin());
  }
  return within / static_cast<double>(probes) / share;
}

}  // namespace

Roughness find_roughness(const Rows& rows, const Kernels& kernels,
                         const std::vector<double>& row_scales, const Extent& extent, int64_t k,
                         int threads, Interrupt& interrupt) {
  constexpr Roughness kNone = {0.0, std::numeric_limits<double>::infinity()};
  const Sample sample(rows, kernels, row_scales);
  const double scale = find_byte_scale(sample, extent, rows.d, threads, interrupt);
  if (scale == 0.0) return kNone;
  if (sample.size() <= kFar) return {scale, kNone.candidates};
  // Of both images, roundings to the nearest whole number.
  const double error = 2.0 * std::sqrt(static_cast<double>(rows.d) / 12.0) / scale;
  return {scale, count_candidates(sample, rows.n, k, error, threads, interrupt)};
}

bool bytes_pay(const Roughness& roughness, int64_t n, int64_t d, int64_t k) {
  const double features = static_cast<double>(d), wanted = static_cast<double>(k);
  const double cost =
      (kCandidate + kCandidateFeature * features) / std::pow(wanted / kUsualK, kFewer);
  return (roughness.candidates - wanted) * cost < features * static_cast<double>(n);
}

}  // namespace expansive
