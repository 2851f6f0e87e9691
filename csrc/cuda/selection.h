// Pass B for one query: which tiles can hold one of its k nearest rows, and which rows those are.
//
// The threads of a block go through it together as a team; the host tests are a team of one. First
// the best tiles by screen value are measured, as many as make k rows likely: that gives a limit,
// the k-th smallest distance so far. Then every other tile is measured unless its bound is above
// the limit, which falls meanwhile. Which tiles are measured changes nothing in the result: all
// rows not excluded are, and the k smallest (squared distance, row number) of them are unique.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/bounds.h"
#include "cuda/tiles.h"
#include "expansive/host_device.h"
#include "expansive/neighbors.h"

namespace expansive::cuda {

inline constexpr uint32_t kNoRow = 0xFFFFFFFFu;  // sorts after every row

// A query and what pass A found for it.
struct Selection {
  const float* values;        // [tiles], the largest screen value of each
  const double* tile_errors;  // [tiles], the largest image error of each
  int64_t n;                  // rows of the database
  int64_t d;                  // features of an image, padded
  int64_t k;                  // at most n
  int tile_rows;
  Relation relation;
  uint32_t class_begin;  // positions of the query's class
  uint32_t class_end;
  int64_t own_row;  // never a neighbour; -1 for none
  double norm;      // see query_norm
  double error;     // of the query's image
  double scale;
};

// What a team shares.
struct Control {
  double limit;  // the k-th smallest squared distance known
  double reach;  // the same for images
  int listed;    // tiles in the list
  int added;     // candidates behind the first k
  int counted;
};
struct Candidates {
  double* squared;  // [slots], the first k sorted
  uint32_t* rows;   // [slots]
  int64_t slots;
  uint32_t* list;  // [kListLength]
  Control* control;
};

EXPANSIVE_HOST_DEVICE inline bool is_related(const Selection& s, int64_t position) {
  if (s.relation == Relation::any) return true;
  const bool is_friend = position >= s.class_begin && position < s.class_end;
  return is_friend == (s.relation == Relation::friendly);
}

// Whether some row of the tile is in the relation: its positions against those of the class.
EXPANSIVE_HOST_DEVICE inline bool may_hold(const Selection& s, int64_t tile) {
  const int64_t begin = tile * s.tile_rows;
  const int64_t end = begin + s.tile_rows < s.n ? begin + s.tile_rows : s.n;
  if (s.relation == Relation::enemy) return !(begin >= s.class_begin && end <= s.class_end);
  if (s.relation == Relation::friendly) return begin < s.class_end && end > s.class_begin;
  return true;
}

EXPANSIVE_HOST_DEVICE inline int64_t first_tile(const Selection& s) {
  return s.relation == Relation::friendly ? s.class_begin / s.tile_rows : 0;
}
EXPANSIVE_HOST_DEVICE inline int64_t end_tile(const Selection& s) {
  return divide_up(s.relation == Relation::friendly ? s.class_end : s.n, s.tile_rows);
}

// Integers that order like the floats.
EXPANSIVE_HOST_DEVICE inline uint32_t ordered_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (bits >> 31) != 0u ? ~bits : bits | 0x80000000u;
}
EXPANSIVE_HOST_DEVICE inline float from_ordered_bits(uint32_t ordered) {
  const uint32_t bits = (ordered >> 31) != 0u ? ordered & 0x7FFFFFFFu : ~ordered;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// A screen value that at least k tiles reach, and few more: tiles are dealt into groups, and the
// k-th largest of the groups' maxima is found by bisection. -inf where there are too few tiles.
template <typename Team>
EXPANSIVE_HOST_DEVICE float find_cutoff(const Team& team, const Selection& s, float* groups,
                                        int64_t n_groups, Control* control) {
  for (int64_t group = team.rank(); group < n_groups; group += team.size()) {
    float largest = -INFINITY;
    for (int64_t tile = first_tile(s) + group; tile < end_tile(s); tile += n_groups) {
      if (may_hold(s, tile)) largest = ::fmaxf(largest, s.values[tile]);
    }
    groups[group] = largest;
  }
  team.sync();
  uint32_t low = ordered_bits(-INFINITY), high = ordered_bits(INFINITY);  // k groups reach low
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2 + 1;
    int mine = 0;
    for (int64_t group = team.rank(); group < n_groups; group += team.size()) {
      mine += ordered_bits(groups[group]) >= middle ? 1 : 0;
    }
    const int64_t count = team.sum(mine, &control->counted);
    if (count < s.k) {
      high = middle - 1;
      continue;
    }
    low = middle;
    if (count <= s.k + s.k / 4) break;
  }
  return from_ordered_bits(low);
}

// Sorts m (a power of two) candidates by (squared distance, row number): a bitonic network.
template <typename Team>
EXPANSIVE_HOST_DEVICE void sort_candidates(const Team& team, double* squared, uint32_t* rows,
                                           int64_t m) {
  for (int64_t length = 2; length <= m; length *= 2) {
    for (int64_t stride = length / 2; stride > 0; stride /= 2) {
      for (int64_t pair = team.rank(); pair < m / 2; pair += team.size()) {
        const int64_t a = 2 * pair - (pair & (stride - 1)), b = a + stride;
        const bool ascending = (a & length) == 0;
        const double square_a = squared[a], square_b = squared[b];
        const uint32_t row_a = rows[a], row_b = rows[b];
        const bool b_first = square_b < square_a || (square_b == square_a && row_b < row_a);
        if (b_first != ascending) continue;
        squared[a] = square_b;
        squared[b] = square_a;
        rows[a] = row_b;
        rows[b] = row_a;
      }
      team.sync();
    }
  }
}

// Takes `added` candidates in among the k nearest. The team is in step before and after.
template <typename Team>
EXPANSIVE_HOST_DEVICE void merge_candidates(const Team& team, const Selection& s,
                                            const Candidates& c, int64_t added) {
  int64_t m = 1;
  while (m < s.k + added) m *= 2;
  for (int64_t i = s.k + added + team.rank(); i < m; i += team.size()) {
    c.squared[i] = INFINITY;
    c.rows[i] = kNoRow;
  }
  team.sync();
  sort_candidates(team, c.squared, c.rows, m);
  if (team.rank() == 0) {
    c.control->added = 0;
    c.control->limit = c.squared[s.k - 1];
    c.control->reach = image_reach(c.control->limit, s.scale, s.error, s.d);
  }
  team.sync();
}

// Measures the tiles that `wants` names, a warp each at a time, by measure(tile): that calls
// add_candidate for each related row within the limit.
template <typename Team, typename Wants, typename Measure>
EXPANSIVE_HOST_DEVICE void visit_tiles(const Team& team, const Selection& s, const Candidates& c,
                                       const Wants& wants, const Measure& measure) {
  const int64_t end = end_tile(s);
  for (int64_t base = first_tile(s); base < end; base += kListLength) {
    const int64_t stop = base + kListLength < end ? base + kListLength : end;
    for (int64_t tile = base + team.rank(); tile < stop; tile += team.size()) {
      if (may_hold(s, tile) && wants(tile)) {
        c.list[team.add(&c.control->listed, 1)] = static_cast<uint32_t>(tile);
      }
    }
    team.sync();
    const int listed = c.control->listed;
    for (int i = 0; i < listed; i += team.warps()) {
      if (i + team.warp() < listed) {
        const int64_t tile = c.list[i + team.warp()];
        if (wants(tile)) measure(tile);  // once more: the limit may have fallen
      }
      team.sync();
      const int64_t added = c.control->added;
      const bool unlimited = c.control->limit == INFINITY;
      team.sync();
      if (added > c.slots - s.k - kRoundRows || (unlimited && added >= s.k)) {
        merge_candidates(team, s, c, added);
      }
    }
    team.sync();
    if (team.rank() == 0) c.control->listed = 0;
    team.sync();
  }
}

template <typename Team>
EXPANSIVE_HOST_DEVICE void add_candidate(const Team& team, const Selection& s, const Candidates& c,
                                         double squared, int64_t row) {
  const int64_t slot = s.k + team.add(&c.control->added, 1);
  c.squared[slot] = squared;
  c.rows[slot] = static_cast<uint32_t>(row);
}

// The k nearest rows, sorted, in the first k slots; kNoRow where there are fewer.
template <typename Team, typename Measure>
EXPANSIVE_HOST_DEVICE void find_nearest(const Team& team, const Selection& s, const Candidates& c,
                                        const Measure& measure) {
  // The groups lie where candidates will.
  const float cutoff =
      find_cutoff(team, s, reinterpret_cast<float*>(c.squared), c.slots, c.control);
  team.sync();
  for (int64_t i = team.rank(); i < s.k; i += team.size()) {
    c.squared[i] = INFINITY;
    c.rows[i] = kNoRow;
  }
  if (team.rank() == 0) *c.control = {INFINITY, INFINITY, 0, 0, 0};
  team.sync();
  const auto may_be_near = [&](int64_t tile) {
    return !is_excluded(s.values[tile], s.norm, c.control->reach, s.tile_errors[tile]);
  };
  // What is not a number is visited first.
  visit_tiles(
      team, s, c, [&](int64_t tile) { return !(s.values[tile] < cutoff) && may_be_near(tile); },
      measure);
  merge_candidates(team, s, c, c.control->added);
  visit_tiles(
      team, s, c, [&](int64_t tile) { return s.values[tile] < cutoff && may_be_near(tile); },
      measure);
  merge_candidates(team, s, c, c.control->added);
}

}  // namespace expansive::cuda
