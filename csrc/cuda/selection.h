// Pass B for one query: which tiles can hold one of its k nearest rows, and which rows those are.
//
// The threads of a block go through it together as a team; the host tests are a team of one. First
// the best tiles by screen value are measured, as many as make k rows likely: that gives a limit,
// the k-th smallest distance so far. Then every other tile is measured unless its bound is above
// the limit, which falls meanwhile. Which tiles are measured changes nothing in the result: all
// rows not excluded are, and the k smallest (squared distance, row number) of them are unique.
//
// Tiles are dealt into groups, whose largest values are found first: only in the few groups that
// can hold a wanted tile are values read again.
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
  double largest_error;       // of all tiles
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
  int wanted;    // groups that may hold a tile of this pass
  int listed;    // tiles in the list
  int added;     // candidates behind the first k
  int counted;
};
struct Candidates {
  double* squared;  // [slots], the first k sorted
  uint32_t* rows;   // [slots]
  int64_t slots;
  float* groups;            // [most_groups], the largest value of each
  uint32_t* wanted_groups;  // [most_groups]
  int64_t most_groups;
  uint32_t* list;  // [kListLength], of tiles
  Control* control;
};

EXPANSIVE_HOST_DEVICE inline bool is_related(const Selection& s, int64_t position) {
  if (s.relation == Relation::any) return true;
  const bool is_friend = position >= s.class_begin && position < s.class_end;
  return is_friend == (s.relation == Relation::friendly);
}

// The tiles that hold a row in the relation: [begin, end) without the hole, which lies within. They
// are fewer than 2^27.
struct TileRange {
  int begin;
  int end;
  int hole_begin;
  int hole_end;
};

EXPANSIVE_HOST_DEVICE inline TileRange related_tiles(const Selection& s) {
  const auto tiles_of = [&](int64_t rows) {
    return static_cast<int>(divide_up(rows, s.tile_rows));
  };
  const int tiles = tiles_of(s.n);
  if (s.relation == Relation::any) return {0, tiles, tiles, tiles};
  const int first_touched = static_cast<int>(s.class_begin / static_cast<uint32_t>(s.tile_rows));
  if (s.relation == Relation::friendly) {
    const int end = tiles_of(s.class_end);
    return {first_touched, end, end, end};
  }
  const int hole_begin = tiles_of(s.class_begin);
  const int whole = static_cast<int>(s.class_end / static_cast<uint32_t>(s.tile_rows));
  const int hole_end = s.class_end == s.n ? tiles : whole;
  return {0, tiles, hole_begin, hole_end < hole_begin ? hole_begin : hole_end};
}

EXPANSIVE_HOST_DEVICE inline bool may_hold(const TileRange& range, int tile) {
  return tile >= range.begin && tile < range.end &&
         !(tile >= range.hole_begin && tile < range.hole_end);
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

// Group g of `count`: the tiles g, g + count, ... of a range, counted from its beginning.
struct Groups {
  TileRange range;
  int count;
  int most_tiles;  // of a group
};

EXPANSIVE_HOST_DEVICE inline Groups groups_of(const TileRange& range, int64_t most) {
  const int tiles = range.end - range.begin;
  const int count = most < tiles ? static_cast<int>(most) : tiles;
  return {range, count, count == 0 ? 0 : (tiles + count - 1) / count};
}

// The largest screen value of the related tiles of a group; infinity if one is not a number.
EXPANSIVE_HOST_DEVICE inline float largest_value(const Selection& s, const Groups& groups,
                                                 int group) {
  const TileRange& range = groups.range;
  float largest = -INFINITY;
  for (int at = range.begin + group; at < range.end; at += kLooks * groups.count) {
    float values[kLooks];
    EXPANSIVE_UNROLL
    for (int i = 0; i < kLooks; ++i) {
      const int tile = at + i * groups.count;
      values[i] = may_hold(range, tile) ? s.values[tile] : -INFINITY;
    }
    EXPANSIVE_UNROLL
    for (int i = 0; i < kLooks; ++i) {
      largest = values[i] <= largest ? largest : values[i] == values[i] ? values[i] : INFINITY;
    }
  }
  return largest;
}

// A screen value that at least k tiles reach, and few more: the k-th largest of the groups' is
// found by bisection. -inf where there are too few groups.
template <typename Team>
EXPANSIVE_HOST_DEVICE float find_cutoff(const Team& team, const Selection& s, const Groups& groups,
                                        const Candidates& c) {
  for (int group = team.rank(); group < groups.count; group += team.size()) {
    c.groups[group] = largest_value(s, groups, group);
  }
  team.sync();
  uint32_t low = ordered_bits(-INFINITY), high = ordered_bits(INFINITY);  // k groups reach low
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2 + 1;
    int mine = 0;
    for (int group = team.rank(); group < groups.count; group += team.size()) {
      mine += ordered_bits(c.groups[group]) >= middle ? 1 : 0;
    }
    const int64_t count = team.sum(mine, &c.control->counted);
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

// Which tiles a pass over them measures: those whose value reaches the cutoff (and what is not a
// number), or the others; of both only what the bound does not exclude.
struct Wanted {
  float cutoff;
  bool best;
};
EXPANSIVE_HOST_DEVICE inline bool is_in_pass(const Wanted& wanted, float value) {
  return !(value < wanted.cutoff) == wanted.best;
}

// Lists the groups that may hold a wanted tile; the team is in step after it.
template <typename Team>
EXPANSIVE_HOST_DEVICE void list_groups(const Team& team, const Selection& s, const Groups& groups,
                                       const Candidates& c, const Wanted& wanted) {
  const double reach = c.control->reach;
  for (int group = team.rank(); group < groups.count; group += team.size()) {
    const float largest = c.groups[group];
    const bool is_wanted = wanted.best ? largest >= wanted.cutoff
                                       : !is_excluded(largest, s.norm, reach, s.largest_error);
    if (is_wanted) {
      c.wanted_groups[team.add(&c.control->wanted, 1)] = static_cast<uint32_t>(group);
    }
  }
  team.sync();
}

// Lists wanted tiles of the wanted groups, from the `at`-th on, where this thread stands, until the
// list is full or none are left. Returns where the thread stands then.
template <typename Team>
EXPANSIVE_HOST_DEVICE int fill_list(const Team& team, const Selection& s, const Groups& groups,
                                    const Candidates& c, const Wanted& wanted, int at) {
  const double reach = c.control->reach;
  const int n_wanted = c.control->wanted, end = n_wanted * groups.most_tiles;
  while (at < end && team.read(&c.control->listed) < kFullList) {
    int tiles[kLooks];
    float values[kLooks];
    bool is_hit[kLooks];
    double errors[kLooks];
    EXPANSIVE_UNROLL
    for (int i = 0; i < kLooks; ++i) {
      const int place = at + i * team.size();
      const int group = place < end ? static_cast<int>(c.wanted_groups[place % n_wanted]) : 0;
      tiles[i] = groups.range.begin + group + place / n_wanted * groups.count;
      is_hit[i] = place < end && may_hold(groups.range, tiles[i]);
      values[i] = is_hit[i] ? s.values[tiles[i]] : 0.0f;
    }
    EXPANSIVE_UNROLL
    for (int i = 0; i < kLooks; ++i) {
      is_hit[i] = is_hit[i] && is_in_pass(wanted, values[i]);
      errors[i] = is_hit[i] ? s.tile_errors[tiles[i]] : 0.0;
    }
    EXPANSIVE_UNROLL
    for (int i = 0; i < kLooks; ++i) {
      is_hit[i] = is_hit[i] && !is_excluded(values[i], s.norm, reach, errors[i]);
    }
    EXPANSIVE_UNROLL
    for (int i = 0; i < kLooks; ++i) {
      if (!is_hit[i]) continue;
      c.list[team.add(&c.control->listed, 1)] = static_cast<uint32_t>(tiles[i]);
    }
    at += kLooks * team.size();
  }
  return at;
}

// Measures the wanted tiles, a round of them at a time, by measure(first, count) of listed
// ones: the team calls add_candidate for each related row within the limit. It may leave out tiles
// that the bound excludes by now.
template <typename Team, typename Measure>
EXPANSIVE_HOST_DEVICE void visit_tiles(const Team& team, const Selection& s, const Groups& groups,
                                       const Candidates& c, const Wanted& wanted,
                                       const Measure& measure) {
  const int round = kRoundRows / s.tile_rows;
  list_groups(team, s, groups, c, wanted);
  int at = team.rank();
  for (bool is_full = true; is_full;) {
    at = fill_list(team, s, groups, c, wanted, at);
    team.sync();
    const int listed = c.control->listed;
    is_full = listed >= kFullList;
    for (int first = 0; first < listed; first += round) {
      measure(first, first + round < listed ? round : listed - first);
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
  if (team.rank() == 0) c.control->wanted = 0;
  team.sync();
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
  const Groups groups = groups_of(related_tiles(s), c.most_groups);
  const float cutoff = find_cutoff(team, s, groups, c);
  team.sync();
  for (int64_t i = team.rank(); i < s.k; i += team.size()) {
    c.squared[i] = INFINITY;
    c.rows[i] = kNoRow;
  }
  if (team.rank() == 0) *c.control = {INFINITY, INFINITY, 0, 0, 0, 0};
  team.sync();
  for (int pass = 0; pass < 2; ++pass) {  // the best tiles, then the others
    visit_tiles(team, s, groups, c, {cutoff, pass == 0}, measure);
    merge_candidates(team, s, c, c.control->added);
  }
}

}  // namespace expansive::cuda
