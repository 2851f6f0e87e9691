// Pass B: the k nearest rows of every query, from the screen values of pass A and exact distances.
//
// Fused: choosing tiles, measuring their rows in float64, keeping the k nearest, and the output. A
// thread block a query (selection.h says how), a warp a tile, eight lanes a row: lane l holds the
// contract's partial sum l, so the order of additions is the contract's. Candidates are sorted in
// shared memory; where k is too large for it, in scratch of the caller's, by fewer thread blocks.
//
// Cost: queries · tiles values read, and tile_rows rows for each tile measured, some k of them;
// both are bound by memory. Out of scope: measuring in float32 first.
#include "cuda/device_code.cuh"
#include "cuda/kernels.h"
#include "cuda/selection.h"

namespace expansive::cuda {
namespace {

// The threads of a block.
struct Block {
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ static constexpr int size() { return kSelectThreads; }
  __device__ int warp() const { return static_cast<int>(threadIdx.x / 32); }
  __device__ static constexpr int warps() { return kSelectWarps; }
  __device__ void sync() const { __syncthreads(); }
  __device__ int add(int* counter, int amount) const { return atomicAdd(counter, amount); }
  // The sum over the team, through a counter that it shares. The team is in step after it.
  __device__ int sum(int mine, int* counter) const {
    __syncthreads();
    if (threadIdx.x == 0) *counter = 0;
    __syncthreads();
    const int of_warp = sum_lanes(mine);
    if (threadIdx.x % 32 == 0) atomicAdd(counter, of_warp);
    __syncthreads();
    return *counter;
  }
};

// The contract's squared distance; every one of the row's eight lanes gets it. Rows that are not
// wanted take part with no element.
template <typename T>
__device__ double squared_distance(const double* query, const T* row, double row_scale,
                                   int64_t wanted_d) {
  double sum = 0.0;
#pragma unroll 4
  for (int64_t j = threadIdx.x % 8; j < wanted_d; j += 8) {
    const double difference = query[j] - to_double(row[j]) * row_scale;
    sum = __fma_rn(difference, difference, sum);
  }
  return fold_lanes(sum);
}

// Measures a tile, by a warp.
template <typename T>
__device__ void measure_tile(const SelectTask& task, const Selection& s, const Candidates& c,
                             const double* query, int64_t tile) {
  const int64_t d = task.database.d;
  for (int at = static_cast<int>(threadIdx.x % 32) / 8; at < s.tile_rows; at += 4) {
    const int64_t position = tile * s.tile_rows + at;
    int64_t row = position;
    bool wanted = position < s.n && is_related(s, position);
    if (wanted && task.order != nullptr) row = task.order[position];
    wanted = wanted && row != s.own_row;
    const double row_scale = wanted && task.row_scales != nullptr ? task.row_scales[position] : 1.0;
    const double squared =
        squared_distance(query, static_cast<const T*>(task.database.data) + (wanted ? row * d : 0),
                         row_scale, wanted ? d : 0);
    if (wanted && threadIdx.x % 8 == 0 && squared <= c.control->limit) {
      add_candidate(Block{}, s, c, squared, row);
    }
  }
}

// The i-th query's number among all.
__device__ int64_t query_number(const SelectTask& task, int64_t i) {
  const int64_t place = task.first_query + i;
  return task.query_order == nullptr ? place : task.query_order[place];
}

__device__ Selection selection_of(const SelectTask& task, int64_t i) {
  const int64_t tiles = divide_up(task.database.n, tile_rows(task.database.d));
  const int64_t query = query_number(task, i);
  const bool any = task.relation == Relation::any;
  return {task.values + i * tiles,
          task.tile_errors,
          task.database.n,
          padded_features(task.database.d),
          task.k,
          tile_rows(task.database.d),
          task.relation,
          any ? 0u : task.classes.begin[i],
          any ? 0u : task.classes.end[i],
          task.own_rows == nullptr ? int64_t{-1} : task.own_rows[query],
          task.norms[i],
          task.errors[i],
          task.scale};
}

template <typename T>
__device__ void write(const SelectTask& task, const Candidates& c, int64_t query) {
  T* distance = static_cast<T*>(task.out.distance) + query * task.out_k;
  int64_t* index = task.out.index + query * task.out_k;
  for (int64_t i = threadIdx.x; i < task.out_k; i += kSelectThreads) {
    const bool found = i < task.k && c.rows[i] != kNoRow;
    const double value = !found         ? INFINITY
                         : task.squared ? c.squared[i]
                                        : distance_of(c.squared[i], task.metric);
    distance[i] = static_cast<T>(value);
    index[i] = found ? static_cast<int64_t>(c.rows[i]) : -1;
  }
}

template <typename T>
__global__ void __launch_bounds__(kSelectThreads, kSelectBlocks)
    select_kernel(SelectTask task, int64_t slots) {
  extern __shared__ double shared_slots[];
  __shared__ uint32_t list[kListLength];
  __shared__ Control control;
  double* squared = task.scratch == nullptr
                        ? shared_slots
                        : reinterpret_cast<double*>(static_cast<char*>(task.scratch) +
                                                    blockIdx.x * slots * kSlotBytes);
  const Candidates c{squared, reinterpret_cast<uint32_t*>(squared + slots), slots, list, &control};
  for (int64_t i = blockIdx.x; i < task.n_queries; i += gridDim.x) {
    const Selection s = selection_of(task, i);
    const double* query = task.wide + i * task.database.d;
    find_nearest(Block{}, s, c, [&](int64_t tile) { measure_tile<T>(task, s, c, query, tile); });
    const int64_t number = query_number(task, i);
    if (task.out.wide) {
      write<double>(task, c, number);
    } else {
      write<float>(task, c, number);
    }
    __syncthreads();  // before the next query takes the slots
  }
}

}  // namespace

void select(const SelectTask& task, cudaStream_t stream) {
  const int64_t slots = candidate_slots(task.k);
  const bool in_shared_memory = fits_shared_memory(task.k);
  const size_t shared_bytes = in_shared_memory ? static_cast<size_t>(slots * kSlotBytes) : 0;
  const unsigned blocks =
      in_shared_memory ? blocks_for(task.n_queries, 1)
                       : std::min(blocks_for(task.n_queries, 1),
                                  static_cast<unsigned>(select_blocks_in_device_memory(task.k)));
  with_type(task.database.dtype, [&](auto element) {
    const auto kernel = select_kernel<decltype(element)>;
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(kMostSlotsInSharedMemory * kSlotBytes)),
               "asking for shared memory");
    kernel<<<blocks, kSelectThreads, shared_bytes, stream>>>(task, slots);
  });
  check_launch("select");
}

}  // namespace expansive::cuda
