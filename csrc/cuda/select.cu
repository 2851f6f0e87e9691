// Pass B: the k nearest rows of every query, from the screen values of pass A and exact distances.
//
// Fused: choosing tiles, measuring their rows in float64, keeping the k nearest, and the output. A
// thread block a query (selection.h says how), eight lanes a row: lane l holds the contract's
// partial sum l, so the order of additions is the contract's. Candidates are sorted in shared
// memory; where k is too large for it, in scratch of the caller's, by fewer thread blocks.
//
// Cost: queries · tiles values read once, those of some groups twice more, and tile_rows rows for
// each tile measured, some k of them. Either waits for memory rather than filling it, so threads
// ask for several values before they use one, and the rows of a round are spread over all threads,
// however few tiles hold them. Out of scope: measuring in float32 first.
#include "cuda/device_code.cuh"
#include "cuda/kernels.h"
#include "cuda/selection.h"

namespace expansive::cuda {
namespace {

// The threads of a block.
struct Block {
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ static constexpr int size() { return kSelectThreads; }
  __device__ void sync() const { __syncthreads(); }
  __device__ int add(int* counter, int amount) const { return atomicAdd(counter, amount); }
  // A counter that others may be adding to.
  __device__ int read(const int* counter) const {
    return *static_cast<const volatile int*>(counter);
  }
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
                                   int wanted_d) {
  double sum = 0.0;
  for (int first = static_cast<int>(threadIdx.x % 8); first < wanted_d; first += 8 * kLooks) {
    T values[kLooks];
    double of_query[kLooks];
#pragma unroll
    for (int i = 0; i < kLooks; ++i) {
      const int j = first + 8 * i;
      values[i] = j < wanted_d ? row[j] : T{};
      of_query[i] = j < wanted_d ? query[j] : 0.0;
    }
#pragma unroll
    for (int i = 0; i < kLooks; ++i) {
      const double difference = of_query[i] - to_double(values[i]) * row_scale;
      sum = __fma_rn(difference, difference, sum);  // beyond the end + 0
    }
  }
  return fold_lanes(sum);
}

// Measures `count` listed tiles, a row by each eight lanes. A round's rows are whole warps of them.
template <typename T>
__device__ void measure_tiles(const SelectTask& task, const Selection& s, const Candidates& c,
                              const double* query, int first, int count) {
  const int64_t d = task.database.d;
  const double limit = c.control->limit, reach = c.control->reach;
  // Behind k copies of the query no row of a higher number can come in: that spares data with many
  // equal rows (embeddings of zeros) nearly all distances between them.
  const int64_t end_row = limit == 0.0 ? int64_t{c.rows[s.k - 1]} : INT64_MAX;
  for (int at = static_cast<int>(threadIdx.x) / 8; at < count * s.tile_rows;
       at += kSelectThreads / 8) {
    const int tile = static_cast<int>(c.list[first + at / s.tile_rows]);
    const int64_t position = int64_t{tile} * s.tile_rows + at % s.tile_rows;
    bool is_near = position < s.n && is_related(s, position) &&
                   !is_excluded(s.values[tile], s.norm, reach, s.tile_errors[tile]);
    const int64_t row = is_near && task.order != nullptr ? task.order[position] : position;
    is_near = is_near && row != s.own_row && row < end_row;
    const double row_scale =
        is_near && task.row_scales != nullptr ? task.row_scales[position] : 1.0;
    const double squared =
        squared_distance(query, static_cast<const T*>(task.database.data) + (is_near ? row * d : 0),
                         row_scale, is_near ? static_cast<int>(d) : 0);
    if (is_near && threadIdx.x % 8 == 0 && squared <= limit) {
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
          task.tile_errors[tiles],
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
  auto* const rows = reinterpret_cast<uint32_t*>(squared + slots);
  auto* const groups = reinterpret_cast<float*>(rows + slots);
  const Candidates c{squared, rows, slots,   groups, reinterpret_cast<uint32_t*>(groups + slots),
                     slots,   list, &control};
  for (int64_t i = blockIdx.x; i < task.n_queries; i += gridDim.x) {
    const Selection s = selection_of(task, i);
    const double* query = task.wide + i * task.database.d;
    find_nearest(Block{}, s, c,
                 [&](int first, int count) { measure_tiles<T>(task, s, c, query, first, count); });
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
