// What kernels share: element types by name, and sums over a warp.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cpu/half.h"
#include "cpu/integers.h"
#include "cuda/runtime.h"
#include "expansive/check.h"
#include "expansive/rows.h"

namespace expansive::cuda {
namespace {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// Calls work with a value of the element type.
template <typename Work>
void with_type(DType dtype, const Work& work) {
  switch (dtype) {
    case DType::float16:
      return work(Half{});
    case DType::bfloat16:
      return work(BFloat16{});
    case DType::float32:
      return work(float{});
    case DType::float64:
      return work(double{});
  }
}

// Thread blocks for `items` pieces of work.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  const int64_t blocks = std::max<int64_t>(divide_up(items, per_block), 1);
  check(blocks <= INT32_MAX, "a grid holds no more than 2^31 - 1 thread blocks; split the rows");
  return static_cast<unsigned>(blocks);
}

__device__ inline int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t all_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Every lane gets the sum over `width` neighbouring lanes.
template <typename T>
__device__ inline T sum_lanes(T value, int width = 32) {
  for (int step = width / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

// The contract's order of the eight partial sums of a distance, one in each of eight lanes: halves,
// quarters, pair. Addition commutes, so every lane gets the same bits.
__device__ inline double fold_lanes(double partial) { return sum_lanes(partial, 8); }

}  // namespace
}  // namespace expansive::cuda
