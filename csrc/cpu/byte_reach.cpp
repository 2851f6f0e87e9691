#include "cpu/byte_reach.h"

#include <algorithm>
#include <cmath>

#include "cpu/integers.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kRowsPerTask = 128;
constexpr int64_t kManyFeatures = 256;  // with fewer, errors are too small for much to be gained
constexpr size_t kDrawnIn[] = {2, 5, 10, 25, 50, 75};  // percent of the rows
constexpr int64_t kTriedOnOne = 4;                     // of so many sampled rows

// The steps that bring a row within what bytes hold as it is.
double step_of(const Elements& elements, const std::vector<double>& place, int64_t d) {
  const int64_t run = features_per_run(elements);
  double largest = 0.0;
  for (int64_t from = 0; from < d; from += run) {
    double lanes[2] = {};
    for (int64_t j = from; j < std::min(d, from + run); ++j) {
      const double t = place[static_cast<size_t>(j)];
      largest = std::max(largest, std::fabs(t) / elements.inner_byte);
      lanes[j % 4 / 2] += t * t;
    }
    largest = std::max(largest, std::sqrt(std::max(lanes[0], lanes[1])) / elements.inner_radius);
  }
  return largest;
}

// What is taken from a squared length when no coordinate may be larger than `most`.
double lost_of(const std::vector<double>& place, double most) {
  double lost = 0.0;
  for (const double t : place) {
    const double left = std::min(std::fabs(t), most);
    lost += t * t - left * left;
  }
  return lost;
}

// Calls visit(i, place) for every `every`-th of the sampled rows, with where it lies from the
// centre.
template <typename Visit>
void visit_places(const RowSample& sample, int64_t every, const std::vector<double>& centre,
                  int threads, Interrupt& interrupt, const Visit& visit) {
  const int64_t count = divide_up(sample.size(), every);
  parallel_for(divide_up(count, kRowsPerTask), threads, interrupt, [&](int64_t task, int) {
    std::vector<double> place(centre.size());
    const int64_t end = std::min(count, (task + 1) * kRowsPerTask);
    for (int64_t i = task * kRowsPerTask; i < end; ++i) {
      sample.widen(i * every, place.data());
      for (size_t j = 0; j < place.size(); ++j) place[j] -= centre[j];
      visit(static_cast<size_t>(i), place);
    }
  });
}

}  // namespace

std::vector<ByteReach> find_reaches(const RowSample& sample, const Elements& elements,
                                    const std::vector<double>& centre, int64_t d, int threads,
                                    Interrupt& interrupt) {
  std::vector<double> steps(static_cast<size_t>(sample.size()));
  visit_places(
      sample, 1, centre, threads, interrupt,
      [&](size_t i, const std::vector<double>& place) { steps[i] = step_of(elements, place, d); });
  std::vector<double> some = steps;
  const auto step = [&](size_t percent) {
    const auto last = some.end() - 1 - static_cast<int64_t>(some.size() * percent / 100);
    std::nth_element(some.begin(), last, some.end());
    return *last;
  };
  if (has_lanes(elements) || d < kManyFeatures) return {{step(kDrawnIn[0])}};
  std::vector<ByteReach> reaches;
  for (const size_t percent : kDrawnIn) {
    const int64_t tried = divide_up(sample.size(), kTriedOnOne);
    reaches.push_back({step(percent), std::vector<double>(static_cast<size_t>(tried))});
  }
  visit_places(sample, kTriedOnOne, centre, threads, interrupt,
               [&](size_t i, const std::vector<double>& place) {
                 for (ByteReach& reach : reaches) {
                   if (steps[i * kTriedOnOne] <= reach.step) continue;
                   reach.lost[i] = lost_of(place, reach.step * elements.most_byte);
                 }
               });
  return reaches;
}

}  // namespace expansive
