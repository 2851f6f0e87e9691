// What both screens of pass A share: how it is cut into thread blocks, which blocks of rows each of
// them goes along, and how the lanes that have sums of the same query share what they found.
#pragma once

#include "cuda/device_code.cuh"
#include "cuda/fragments.h"
#include "cuda/kernels.h"
#include "cuda/ptx.cuh"

namespace expansive::cuda {
namespace {

// A thread block for each block of queries and strip of `length` blocks of rows.
struct Cut {
  int64_t query_blocks;
  int64_t length;
  unsigned thread_blocks;
};

inline Cut cut_into_strips(const ScreenTask& task, const Chip& chip, int rows) {
  const int64_t query_blocks = divide_up(task.n_queries, kBlockQueries);
  const int64_t row_blocks = divide_up(task.n_rows, rows);
  const int64_t length = strip_blocks(query_blocks, row_blocks, chip.multiprocessors);
  return {query_blocks, length, blocks_for(query_blocks * divide_up(row_blocks, length), 1)};
}

// The blocks of `rows` in a strip that some query of a block of queries has to look at.
__device__ inline Run strip_to_visit(const ScreenTask& task, int64_t query_block, int64_t strip,
                                     int64_t strip_length, int rows) {
  const int64_t blocks = divide_up(task.n_rows, rows);
  const int64_t begin = strip * strip_length;
  const int64_t end = begin + strip_length < blocks ? begin + strip_length : blocks;
  if (task.relation == Relation::any) return {begin, end, end, end};
  const int64_t first = query_block * kBlockQueries;
  const int64_t last =
      (first + kBlockQueries < task.n_queries ? first + kBlockQueries : task.n_queries) - 1;
  return wanted_run(begin, end, rows, task.relation == Relation::enemy, task.classes.begin[first],
                    task.classes.end[first], task.classes.begin[last], task.classes.end[last],
                    task.n_rows);
}

// Of each of the numbers, the largest that the four lanes of a quad have: lane l of the quad gets
// those of the l-th quarter, in the first places.
template <int kCount>
__device__ void share_largest(float (&numbers)[kCount]) {
#pragma unroll
  for (int step = 2, kept = kCount / 2; step > 0; step /= 2, kept /= 2) {
    const bool upper = (threadIdx.x & static_cast<unsigned>(step)) != 0;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      if (i >= kept) break;
      const float mine = upper ? numbers[i + kept] : numbers[i];
      const float others = upper ? numbers[i] : numbers[i + kept];
      numbers[i] = larger(mine, __shfl_xor_sync(kAllLanes, others, step));
    }
  }
}

}  // namespace
}  // namespace expansive::cuda
