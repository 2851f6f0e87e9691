// Pass A on sm_90a: what screen.cu computes, by the instructions that only that chip has.
//
// Fused as there. A warp brings blocks of images by bulk copies into a ring of stages; two teams of
// four warps multiply them by wgmma, each 64 queries by the 256 rows of a block, and look for the
// largest value of each tile in their sums. Barriers say when a stage has come and when both teams
// are done with it. Up to 512 features the queries stay in shared memory for the whole strip.
// Where blocks are short, the teams take turns, so that one multiplies while the other looks.
//
// Cost: as in screen.cu; each stage of 2 · 128 · 256 · 64 operations brings 32 KiB from the cache,
// 48 KiB where queries come too. Out of scope: clusters of thread blocks that share rows.
#include "cuda/device_code.cuh"
#include "cuda/fragments.h"
#include "cuda/kernels.h"
#include "cuda/ptx_sm90.cuh"
#include "cuda/strips.cuh"

// For any other chip the kernel is compiled as one that fails; it is not launched there.
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define EXPANSIVE_ON_SM90A
#endif

namespace expansive::cuda {
namespace {

#ifdef EXPANSIVE_ON_SM90A

// Where a thread block keeps what, in shared memory.
struct Places {
  SharedAddress queries;
  SharedAddress rows;
  SharedAddress barriers;
  int stages;

  __device__ SharedAddress query_block(int i) const { return queries + i * kSideBytes; }
  __device__ SharedAddress row_block(int slot) const { return rows + slot * 2 * kSideBytes; }
  __device__ SharedAddress came(int slot) const { return barriers + slot * kBarrierBytes; }
  __device__ SharedAddress done(int slot) const { return came(stages + slot); }
  __device__ SharedAddress turn(int team) const { return came(2 * stages + team); }
};

__device__ Places places_in(const void* memory, int query_blocks, int stages) {
  constexpr SharedAddress kAlignment = 1024;  // of swizzled matrices
  const SharedAddress begin = (shared_address(memory) + kAlignment - 1) / kAlignment * kAlignment;
  const SharedAddress rows = begin + query_blocks * kSideBytes;
  return {begin, rows, rows + stages * 2 * kSideBytes, stages};
}

__device__ void init_barriers(const Places& places) {
  for (int slot = 0; slot < places.stages; ++slot) {
    init_barrier(places.came(slot), 1);
    init_barrier(places.done(slot), 4 * kTeams);
  }
  for (int team = 0; team < kTeams; ++team) init_barrier(places.turn(team), 4);
  publish_barriers();
}

// A place in the ring, and the parity of the round through it.
struct Slot {
  int number = 0;
  int parity = 0;

  __device__ void advance(int stages) {
    if (++number < stages) return;
    number = 0;
    parity ^= 1;
  }
};

// What one thread does: bring every stage of the strip in turn.
__device__ void bring_stages(const ScreenTask& task, const Places& places, int64_t query_block,
                             const Run& run, int64_t padded, bool queries_stay) {
  const int steps = static_cast<int>(padded / kImageFeatures);
  const int64_t blocks = count_blocks(run);
  Slot slot;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t row_block = block_number(run, i) * (kWideBlockRows / kImageRows);
    for (int step = 0; step < steps; ++step) {
      const bool with_queries = !queries_stay || i == 0;
      const SharedAddress came = places.came(slot.number);
      await_phase(places.done(slot.number), slot.parity ^ 1);
      arrive_expecting(came, (with_queries ? 3 : 2) * kSideBytes);
      for (int half = 0; half < 2; ++half) {
        copy_block(places.row_block(slot.number) + half * kSideBytes,
                   task.rows + image_block(row_block + half, step, padded), kSideBytes, came);
      }
      if (with_queries) {
        copy_block(places.query_block(queries_stay ? step : slot.number),
                   task.queries + image_block(query_block, step, padded), kSideBytes, came);
      }
      slot.advance(places.stages);
    }
  }
}

// The norms of a block come to the cache beside the processor while its products are made: 32 loads
// after the last product would wait longer than the search for the largest takes.
__device__ void prefetch_norms(const ScreenTask& task, int64_t first_row) {
  constexpr int kLineValues = 32;  // of 128 bytes
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane < kWideBlockRows / kLineValues) {
    prefetch(task.negated_half_norms + first_row + lane * kLineValues);
  }
}

// Writes the largest value of each of the team's queries in each of a block's kTiles.
template <int kTiles>
__device__ void write_largest(const ScreenTask& task, int64_t first_query, int64_t row_block,
                              const WideSums& sums) {
  constexpr int kGroups = 32 / kTiles;  // of eight rows, in a tile
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float2* norms =
      reinterpret_cast<const float2*>(task.negated_half_norms) + row_block * (kWideBlockRows / 2);
  float largest[2][kTiles];  // of the upper and of the lower eight queries
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float upper = -INFINITY, lower = -INFINITY;
#pragma unroll
    for (int group = tile * kGroups; group < (tile + 1) * kGroups; ++group) {
      const float2 norm = norms[4 * group + lane % 4];
      upper = larger(upper, sums[4 * group] + norm.x);
      upper = larger(upper, sums[4 * group + 1] + norm.y);
      lower = larger(lower, sums[4 * group + 2] + norm.x);
      lower = larger(lower, sums[4 * group + 3] + norm.y);
    }
    largest[0][tile] = upper;
    largest[1][tile] = lower;
  }
  const int64_t tiles = divide_up(task.n_rows, kWideBlockRows / kTiles);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    share_largest(largest[half]);
    const int64_t query = first_query + lane / 4 + 8 * half;
    const int64_t tile = row_block * kTiles + lane % 4 * (kTiles / 4);
#pragma unroll
    for (int i = 0; i < kTiles / 4; ++i) {
      if (query < task.n_queries && tile + i < tiles) {
        task.values[query * tiles + tile + i] = largest[half][i];
      }
    }
  }
}

// What a team of four warps does: multiply every stage of the strip, and look at every block.
__device__ void multiply_stages(const ScreenTask& task, const Places& places, int64_t query_block,
                                const Run& run, int64_t padded, bool queries_stay) {
  const int steps = static_cast<int>(padded / kImageFeatures);
  const int64_t blocks = count_blocks(run);
  const int warp = static_cast<int>(threadIdx.x / 32), team = warp / 4;
  const bool leads = threadIdx.x % 32 == 0, takes_turns = steps <= kMostStepsInTurns;
  const int64_t first_query = query_block * kBlockQueries + team * 64 + warp % 4 * 16;
  WideSums sums;
  Slot slot;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t row_block = block_number(run, i);
    prefetch_norms(task, row_block * kWideBlockRows);
    // The first team's first turn is its own.
    if (takes_turns && (team > 0 || i > 0)) {
      await_phase(places.turn(team), static_cast<int>((i + team - 1) & 1));
    }
    int before = 0;  // slot of the step before
    for (int step = 0; step < steps; ++step) {
      await_phase(places.came(slot.number), slot.parity);
      const Matrix queries = matrix_at(places.query_block(queries_stay ? step : slot.number) +
                                       team * (kSideBytes / 2));
      const Matrix rows = matrix_at(places.row_block(slot.number));
      begin_products();
#pragma unroll
      for (int column = 0; column < kImageFeatures; column += 16) {
        multiply_wide(sums, from_column(queries, column), from_column(rows, column),
                      step > 0 || column > 0);
      }
      commit_products();
      if (step > 0) {
        await_products<1>(sums);
        if (leads) arrive(places.done(before));
      }
      before = slot.number;
      slot.advance(places.stages);
    }
    if (takes_turns && leads) arrive(places.turn(1 - team));
    await_products<0>(sums);
    if (leads) arrive(places.done(before));
    if (task.tile_rows == 16) {
      write_largest<kWideBlockRows / 16>(task, first_query, row_block, sums);
    } else if (task.tile_rows == 32) {
      write_largest<kWideBlockRows / 32>(task, first_query, row_block, sums);
    } else {
      write_largest<kWideBlockRows / 64>(task, first_query, row_block, sums);
    }
  }
}

#endif

__global__ void __launch_bounds__(kWideThreads, 1)
    screen_wide_kernel(ScreenTask task, int64_t query_blocks, int64_t strip_length, int stages) {
#ifdef EXPANSIVE_ON_SM90A
  extern __shared__ double shared_memory[];
  const int64_t padded = padded_features(task.d);
  const int resident = resident_queries(padded / kImageFeatures);
  const bool queries_stay = resident > 0;
  const Places places = places_in(shared_memory, queries_stay ? resident : stages, stages);
  if (threadIdx.x == 0) init_barriers(places);
  __syncthreads();
  const Work work = work_of(blockIdx.x, query_blocks, gridDim.x / query_blocks);
  const Run run = strip_to_visit(task, work.query_block, work.strip, strip_length, kWideBlockRows);
  if (threadIdx.x < kTeams * 128) {
    take_registers<kManyRegisters>();
    multiply_stages(task, places, work.query_block, run, padded, queries_stay);
  } else {
    leave_registers<kFewRegisters>();
    if (threadIdx.x == kTeams * 128) {
      bring_stages(task, places, work.query_block, run, padded, queries_stay);
    }
  }
#else
  __trap();
#endif
}

}  // namespace

void screen_wide(const ScreenTask& task, const Chip& chip, cudaStream_t stream) {
  constexpr int kSharedBytes = 227 * 1024;
  const auto is_aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  check(is_aligned(task.queries) && is_aligned(task.rows),
        "images must lie at a multiple of 16 bytes, for bulk copies");
  const Cut cut = cut_into_strips(task, chip, kWideBlockRows);
  const int stages = wide_stages(padded_features(task.d) / kImageFeatures);
  check_cuda(cudaFuncSetAttribute(screen_wide_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kSharedBytes),
             "asking for shared memory");
  screen_wide_kernel<<<cut.thread_blocks, kWideThreads, kSharedBytes, stream>>>(
      task, cut.query_blocks, cut.length, stages);
  check_launch("screen");
}

}  // namespace expansive::cuda
