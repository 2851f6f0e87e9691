// Pass A: the largest screen value of every query in every tile of rows.
//
// Fused: the bfloat16 product of the images on tensor cores (mma.sync, sm_80 and newer), the half
// norms, and the reduction to a number a tile, so that the matrix of products never exists. A
// thread block keeps one block of queries and goes along a strip of blocks of rows; stages of kStep
// features come by cp.async into a ring of kStages, also across the blocks' boundaries, so that
// the next block loads while this one ends.
//
// Cost: 2 · queries · rows · features operations; 2 / (features · tile_rows) bytes written for each
// of them. screen_wide.cu does the same faster where the chip has the instructions for it.
#include "cuda/device_code.cuh"
#include "cuda/fragments.h"
#include "cuda/kernels.h"
#include "cuda/ptx.cuh"
#include "cuda/strips.cuh"

namespace expansive::cuda {
namespace {

struct Stage {
  uint4 queries[kTileBytes / sizeof(uint4)];
  uint4 rows[kTileBytes / sizeof(uint4)];
};
static_assert(sizeof(Stage) * kStages <= 48 * 1024, "more needs an opt-in");

using Sums = float[kFragmentsM][kFragmentsN][4];

__device__ void load_stage(const ScreenTask& task, Stage& stage, int64_t query_block,
                           int64_t row_block, int64_t step) {
  const SharedAddress to_queries = shared_address(stage.queries),
                      to_rows = shared_address(stage.rows);
  constexpr int kStepsPerBlock = kImageFeatures / kStep;
  const int64_t padded = padded_features(task.d), image_step = step / kStepsPerBlock;
  const int first_part = static_cast<int>(step % kStepsPerBlock) * kPartsPerLine;
  const uint16_t* queries = task.queries + image_block(query_block, image_step, padded);
  const uint16_t* rows = task.rows + image_block(row_block, image_step, padded);
#pragma unroll
  for (int i = 0; i < kCopies; ++i) {
    const Part part = part_to_copy(static_cast<int>(threadIdx.x), i);
    const int from = place_in_block(part.line, first_part + part.part);
    copy_part(to_queries + offset_of(part), queries + from);
    copy_part(to_rows + offset_of(part), rows + from);
  }
}

__device__ void multiply_stage(const Stage& stage, int warp_query, int warp_row, Sums& sums) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const SharedAddress queries = shared_address(stage.queries), rows = shared_address(stage.rows);
#pragma unroll
  for (int half = 0; half < kStep / 16; ++half) {
    uint32_t a[kFragmentsM][4], b[kFragmentsN / 2][4];
#pragma unroll
    for (int m = 0; m < kFragmentsM; ++m) {
      load_fragments(a[m], queries + offset_of(query_part(lane, warp_query + 16 * m, half)));
    }
#pragma unroll
    for (int n = 0; n < kFragmentsN / 2; ++n) {
      load_fragments(b[n], rows + offset_of(row_part(lane, warp_row + 16 * n, half)));
    }
#pragma unroll
    for (int m = 0; m < kFragmentsM; ++m) {
#pragma unroll
      for (int n = 0; n < kFragmentsN; ++n) {
        multiply_add(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
      }
    }
  }
}

// Writes the largest value of each of the warp's queries in each of its kTiles tiles of rows, and
// clears the sums. Of the four lanes that share a query each writes some.
template <int kTiles>
__device__ void finish_block(const ScreenTask& task, int64_t first_query, int64_t first_row,
                             Sums& sums) {
  constexpr int kFragments = kFragmentsN / kTiles;  // of eight rows, in a tile
  constexpr int kPlaces = kTiles > 1 ? kTiles : 2;  // of a query among the lanes' numbers
  const int lane = static_cast<int>(threadIdx.x % 32);
  float norms[kFragmentsN][2];  // negated half norms of the lane's rows
#pragma unroll
  for (int n = 0; n < kFragmentsN; ++n) {
    const float* at = task.negated_half_norms + first_row + 8 * n;
    norms[n][0] = at[sum_row(lane, 0)];
    norms[n][1] = at[sum_row(lane, 1)];
  }
  const int64_t tiles = divide_up(task.n_rows, task.tile_rows);
#pragma unroll
  for (int m = 0; m < kFragmentsM; ++m) {
    float largest[2 * kPlaces];  // of the upper and of the lower eight queries
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        float most = -INFINITY;
#pragma unroll
        for (int n = tile * kFragments; n < (tile + 1) * kFragments; ++n) {
          most = larger(most, sums[m][n][2 * upper] + norms[n][0]);
          most = larger(most, sums[m][n][2 * upper + 1] + norms[n][1]);
          sums[m][n][2 * upper] = 0.0f;
          sums[m][n][2 * upper + 1] = 0.0f;
        }
        largest[upper * kPlaces + tile] = most;
      }
      if (kTiles < kPlaces) largest[upper * kPlaces + kTiles] = -INFINITY;
    }
    share_largest(largest);
#pragma unroll
    for (int i = 0; i < kPlaces / 2; ++i) {
      const int place = lane % 4 * (kPlaces / 2) + i, tile = place % kPlaces;
      const int64_t query = first_query + 16 * m + sum_query(lane, 2 * (place / kPlaces));
      const int64_t at = first_row / task.tile_rows + tile;
      if (query < task.n_queries && tile < kTiles && at < tiles) {
        task.values[query * tiles + at] = largest[i];
      }
    }
  }
}

__global__ void __launch_bounds__(kScreenThreads, 2)
    screen_kernel(ScreenTask task, int64_t query_blocks, int64_t strip_length) {
  __shared__ Stage ring[kStages];
  const Work work = work_of(blockIdx.x, query_blocks, gridDim.x / query_blocks);
  const int64_t query_block = work.query_block;
  const Run run = strip_to_visit(task, query_block, work.strip, strip_length, kBlockRows);
  const int64_t steps = divide_up(task.d, kStep);
  const int64_t total = count_blocks(run) * steps;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int warp_query = warp % 2 * kWarpQueries, warp_row = warp / 2 * kWarpRows;

  // Stages are numbered 0 .. total - 1 along the strip; stage i lies in ring[i % kStages].
  int64_t load_block = 0, load_step = 0;
  const auto load_next = [&](int slot) {
    if (load_block < count_blocks(run)) {
      load_stage(task, ring[slot], query_block, block_number(run, load_block), load_step);
      if (++load_step == steps) {
        load_step = 0;
        ++load_block;
      }
    }
    commit_copies();  // perhaps of nothing, so that the count of groups stays in step
  };
#pragma unroll
  for (int slot = 0; slot < kStages - 1; ++slot) load_next(slot);

  Sums sums = {};
  int64_t block = 0, step = 0;
  int slot = 0;
  for (int64_t i = 0; i < total; ++i) {
    await_copies<kStages - 2>();
    __syncthreads();  // all have stage i, and all are done with stage i - 1, whose place is next
    load_next(slot == 0 ? kStages - 1 : slot - 1);
    multiply_stage(ring[slot], warp_query, warp_row, sums);
    slot = slot + 1 == kStages ? 0 : slot + 1;
    if (++step < steps) continue;
    step = 0;
    const int64_t first_query = query_block * kBlockQueries + warp_query;
    const int64_t first_row = block_number(run, block++) * kBlockRows + warp_row;
    if (task.tile_rows == kWarpRows / 4) {
      finish_block<4>(task, first_query, first_row, sums);
    } else if (task.tile_rows == kWarpRows / 2) {
      finish_block<2>(task, first_query, first_row, sums);
    } else {
      finish_block<1>(task, first_query, first_row, sums);
    }
  }
  await_copies<0>();
}

}  // namespace

void screen(const ScreenTask& task, const Chip& chip, cudaStream_t stream) {
  if (chip.has_wgmma) return screen_wide(task, chip, stream);
  const Cut cut = cut_into_strips(task, chip, kBlockRows);
  screen_kernel<<<cut.thread_blocks, kScreenThreads, 0, stream>>>(task, cut.query_blocks,
                                                                  cut.length);
  check_launch("screen");
}

}  // namespace expansive::cuda
