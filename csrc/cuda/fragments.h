// Where everything lies in pass A: in memory, in shared memory, in a warp's fragments, in its sums.
// Shared with a host test that multiplies matrices by these rules alone.
//
// Images lie in blocks of kImageRows × kImageFeatures, the blocks of a row one after the other: a
// line of 128 bytes for each image, cut into eight parts of 16 bytes, part p of line l in place
// p ^ (l % 8). wgmma wants them so in shared memory (PTX ISA: 128-byte swizzling), and a block can
// be copied there as it is.
//
// For mma.sync shared memory holds kStep features of kBlockRows images: a line of 64 bytes for each
// image, cut into four parts, permuted so that the eight lines which ldmatrix reads at a time lie
// in different banks. Fragments are those of mma.m16n8k16 in the PTX ISA.
#pragma once

#include <cstdint>

#include "cuda/tiles.h"
#include "expansive/host_device.h"

namespace expansive::cuda {

// The first element of a block of images, of `padded` features each.
EXPANSIVE_HOST_DEVICE constexpr int64_t image_block(int64_t block, int64_t step, int64_t padded) {
  return (block * padded + step * kImageFeatures) * kImageRows;
}
// A part's place in its block.
EXPANSIVE_HOST_DEVICE constexpr int place_in_block(int line, int part) {
  return line * kImageFeatures + (part ^ (line % 8)) * 8;
}
EXPANSIVE_HOST_DEVICE constexpr int64_t image_place(int64_t row, int64_t feature, int64_t padded) {
  const int line = static_cast<int>(row % kImageRows);
  const int part = static_cast<int>(feature % kImageFeatures / 8);
  return image_block(row / kImageRows, feature / kImageFeatures, padded) +
         place_in_block(line, part) + feature % 8;
}

// Where wgmma finds a matrix of 64 bfloat16 a line, in a block of images in shared memory (PTX ISA,
// "Matrix descriptor"): its address and the stride of eight lines, both in 16 bytes, and that it is
// swizzled by 128 bytes. The leading stride means nothing then.
EXPANSIVE_HOST_DEVICE constexpr uint64_t describe_matrix(uint32_t address) {
  constexpr uint64_t kEightLines = 1024, kSwizzled128 = 1;
  return (address & 0x3FFFF) >> 4 | uint64_t{1} << 16 | kEightLines >> 4 << 32 | kSwizzled128 << 62;
}
// The same from its `column`-th column on, a multiple of 16.
EXPANSIVE_HOST_DEVICE constexpr uint64_t from_column(uint64_t matrix, int column) {
  return matrix + static_cast<uint64_t>(column * 2 >> 4);
}

inline constexpr int kPartBytes = 16;
inline constexpr int kPartsPerLine = kStep * 2 / kPartBytes;
inline constexpr int kLineBytes = kStep * 2;
inline constexpr int kTileBytes = kBlockRows * kLineBytes;  // one side of one stage
inline constexpr int kCopies = kBlockRows * kPartsPerLine / kScreenThreads;
inline constexpr int kWarpQueries = 64;
inline constexpr int kWarpRows = 64;
inline constexpr int kFragmentsM = kWarpQueries / 16;
inline constexpr int kFragmentsN = kWarpRows / 8;

static_assert(kBlockQueries == kBlockRows, "both sides are copied by the same rule");
static_assert(kBlockRows == kImageRows && kImageFeatures % kStep == 0);
static_assert(kPartsPerLine == 4, "the permutation below is for lines of four parts");
static_assert(kScreenThreads == 32 * (kBlockQueries / kWarpQueries) * (kBlockRows / kWarpRows));

struct Part {
  int line;
  int part;
};

// What a thread copies in its i-th of kCopies.
EXPANSIVE_HOST_DEVICE constexpr Part part_to_copy(int thread, int i) {
  const int number = thread + i * kScreenThreads;
  return {number / kPartsPerLine, number % kPartsPerLine};
}

EXPANSIVE_HOST_DEVICE constexpr int offset_of(Part part) {
  return part.line * kLineBytes + (part.part ^ ((part.line >> 1) & 3)) * kPartBytes;
}

// The eight elements whose address a lane gives to ldmatrix.x4: for a 16 x 16 fragment of queries
// (the quarters: lines 0-7 and 8-15 of the first half of the features, then of the second) ...
EXPANSIVE_HOST_DEVICE constexpr Part query_part(int lane, int first_line, int half_step) {
  return {first_line + (lane & 15), half_step * 2 + (lane >> 4)};
}
// ... and for two 8 x 16 fragments of rows (the halves of the features of the first, then of the
// second).
EXPANSIVE_HOST_DEVICE constexpr Part row_part(int lane, int first_line, int half_step) {
  return {first_line + (lane & 7) + ((lane >> 4) << 3), half_step * 2 + ((lane >> 3) & 1)};
}

// Place of a lane's i-th sum (of four) in a 16 x 8 fragment.
EXPANSIVE_HOST_DEVICE constexpr int sum_query(int lane, int i) { return lane / 4 + (i / 2) * 8; }
EXPANSIVE_HOST_DEVICE constexpr int sum_row(int lane, int i) { return (lane % 4) * 2 + i % 2; }

// The blocks of rows that a block of queries has to look at: [begin, end) without [skip, resume).
struct Run {
  int64_t begin;
  int64_t end;
  int64_t skip;
  int64_t resume;
};

EXPANSIVE_HOST_DEVICE constexpr int64_t count_blocks(const Run& run) {
  return run.end - run.begin - (run.resume - run.skip);
}
EXPANSIVE_HOST_DEVICE constexpr int64_t block_number(const Run& run, int64_t i) {
  return run.begin + i < run.skip ? run.begin + i : run.begin + i + (run.resume - run.skip);
}

// A strip [begin, end) of blocks of `rows`, cut to what some query of a block wants. The queries'
// classes go in order: the first query's class has the positions [first_begin, first_end), the last
// one's [last_begin, last_end); n is the number of rows.
EXPANSIVE_HOST_DEVICE inline Run wanted_run(int64_t begin, int64_t end, int rows, bool enemies,
                                            uint32_t first_begin, uint32_t first_end,
                                            uint32_t last_begin, uint32_t last_end, int64_t n) {
  if (enemies) {
    int64_t skip = divide_up(first_begin, rows);
    int64_t resume = first_end == n ? end : int64_t{first_end} / rows;
    skip = skip < begin ? begin : skip > end ? end : skip;
    resume = resume < begin ? begin : resume > end ? end : resume;
    const bool one_class = first_begin == last_begin && first_end == last_end;
    if (!one_class || resume <= skip) return {begin, end, end, end};
    return {begin, end, skip, resume};
  }
  const int64_t from = int64_t{first_begin} / rows, to = divide_up(last_end, rows);
  begin = begin < from ? from : begin;
  end = end > to ? to : end;
  if (end < begin) end = begin;
  return {begin, end, end, end};
}

}  // namespace expansive::cuda
