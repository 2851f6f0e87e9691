// Every choice of size that the CUDA search makes, in one place. None of them changes a result.
//
// Pass A cuts queries × rows into blocks, each the work of one thread block at a time; a thread
// block goes along a strip of them. Its result is one number for each query and tile of rows. Pass
// B gives each query a thread block.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/integers.h"

namespace expansive::cuda {

// ---- images ------------------------------------------------------------------------------------

// Images lie in blocks of so many rows and features, see fragments.h.
inline constexpr int kImageRows = 128;
inline constexpr int kImageFeatures = 64;

// Features an image is padded to.
constexpr int64_t padded_features(int64_t d) { return round_up(d, kImageFeatures); }

// Rows of a tile, which share one value: smaller tiles make pass A write more and pass B measure
// less.
constexpr int tile_rows(int64_t d) { return d >= 512 ? 16 : d >= 256 ? 32 : 64; }

// ---- pass A ------------------------------------------------------------------------------------

inline constexpr int kBlockQueries = 128;

// By mma.sync: any GPU from sm_80 on.
inline constexpr int kBlockRows = 128;
inline constexpr int kStep = 32;            // features that one stage of the pipeline holds
inline constexpr int kStages = 3;           // 48 KiB of shared memory, two thread blocks on any GPU
inline constexpr int kScreenThreads = 128;  // 2 x 2 warps, each 64 queries × 64 rows

// By wgmma: sm_90a. Stages hold kImageFeatures.
inline constexpr int kWideBlockRows = 256;
inline constexpr int kTeams = 2;  // of four warps, each 64 queries × all rows of the block
inline constexpr int kWideThreads = kTeams * 128 + 128;  // and four warps: one brings stages
// Registers of a thread that multiplies, 128 of them sums, and of one that does not.
inline constexpr int kManyRegisters = 240, kFewRegisters = 24;
inline constexpr int kSideBytes = kImageRows * kImageFeatures * 2;  // a block of images
inline constexpr int kMostStages = 6;
// What a thread block may have, less the alignment of the images and the barriers.
inline constexpr int kWideSharedBytes = 227 * 1024 - 1024 - 256;
// Steps up to which teams take turns: one multiplies while the other looks for the largest. With
// more the products of a block take so much longer that it does not matter.
inline constexpr int64_t kMostStepsInTurns = 2;

// Blocks of images of queries that stay in shared memory for a whole strip: all, if it has room for
// three stages of rows beside them, else none; then they come with every stage.
constexpr int resident_queries(int64_t steps) { return steps <= 8 ? static_cast<int>(steps) : 0; }
constexpr int wide_stages(int64_t steps) {
  const int resident = resident_queries(steps);
  const int stage = (resident == 0 ? 3 : 2) * kSideBytes;
  return std::min((kWideSharedBytes - resident * kSideBytes) / stage, kMostStages);
}
static_assert(wide_stages(8) == 3 && wide_stages(9) == 4);

// Blocks of rows that one thread block takes in turn: many, so that its pipeline stays full, but
// enough thread blocks to fill `multiprocessors` of them.
constexpr int64_t strip_blocks(int64_t query_blocks, int64_t row_blocks, int64_t multiprocessors) {
  constexpr int64_t kLongest = 64, kWaves = 4;
  const int64_t strips = std::max<int64_t>(1, kWaves * 2 * multiprocessors / query_blocks);
  return std::clamp<int64_t>(row_blocks / strips, 1, kLongest);
}

// What the i-th thread block works on. Those that run together share what they read, in the cache:
// a group of blocks of queries, few enough to stay there, and the strips of rows one after the
// other.
struct Work {
  int64_t query_block;
  int64_t strip;
};
constexpr Work work_of(int64_t i, int64_t query_blocks, int64_t strips) {
  constexpr int64_t kGroup = 16;
  const int64_t first = i / (kGroup * strips) * kGroup;
  const int64_t left = query_blocks - first, group = left < kGroup ? left : kGroup;
  const int64_t within = i - first * strips;
  return {first + within % group, within / group};
}

// ---- pass B ------------------------------------------------------------------------------------

inline constexpr int kSelectThreads = 128;
// Thread blocks on a multiprocessor: rows come from anywhere in memory, so many have to wait at
// once. More of them leave too few registers for the values of kLooks.
inline constexpr int kSelectBlocks = 6;
inline constexpr int kLooks = 8;  // values a thread asks memory for before it looks at the first
// Tiles waiting to be measured: no more are added to a list this long, but each thread may have
// found kLooks just before.
inline constexpr int kFullList = 512;
inline constexpr int kListLength = kFullList + kLooks * kSelectThreads;
inline constexpr int kRoundRows = 256;  // rows measured before the candidates are looked at
inline constexpr int64_t kMostSlotsInSharedMemory = 4096;
// A float64 distance and a row number; beside them a group's largest value, and the number of one.
inline constexpr int64_t kSlotBytes = 20;

// Places for the k nearest and for what is to be merged with them: a power of two, to be sorted.
// Tiles are dealt into as many groups.
constexpr int64_t candidate_slots(int64_t k) {
  int64_t slots = 1024;
  while (slots < k + 2 * kRoundRows) slots *= 2;
  return slots;
}
constexpr bool fits_shared_memory(int64_t k) {
  return candidate_slots(k) <= kMostSlotsInSharedMemory;
}
// Where candidates fill device memory instead, so many thread blocks work at a time.
constexpr int64_t select_blocks_in_device_memory(int64_t k) {
  constexpr int64_t kMost = 256, kMostBytes = int64_t{256} << 20;
  return std::clamp<int64_t>(kMostBytes / (candidate_slots(k) * kSlotBytes), 1, kMost);
}

// ---- memory ------------------------------------------------------------------------------------

// Device memory that a block of queries takes for each of them, beside the candidates of large k.
constexpr int64_t bytes_per_query(int64_t n, int64_t d) {
  return padded_features(d) * 2 + d * 8 + 3 * 8 + divide_up(n, tile_rows(d)) * 4 + 16;
}

// Queries searched at a time within `budget` bytes: whole blocks of pass A, at least one.
constexpr int64_t queries_at_a_time(int64_t n, int64_t q, int64_t d, int64_t budget) {
  const int64_t fitting = budget / bytes_per_query(n, d) / kBlockQueries * kBlockQueries;
  return std::clamp<int64_t>(fitting, kBlockQueries,
                             round_up(std::max<int64_t>(q, 1), kBlockQueries));
}

}  // namespace expansive::cuda
