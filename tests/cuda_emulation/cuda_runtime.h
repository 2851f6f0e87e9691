// CUDA C++ on the host, one thread after the other: threads of a block are fibers that give way at
// barriers and in exchanges between lanes. Blocks run one by one. emulate.py rewrites launches.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct float2 {
  float x, y;
};

namespace emulation {

struct Index {
  unsigned x;
};
struct Place {
  Index thread, block, threads, blocks;
};
extern Place here;

void launch(unsigned blocks, unsigned threads, size_t shared_bytes,
            const std::function<void()>& kernel);
double* dynamic_shared_memory();
void await_block();
void await_warp();
void await_others();  // lets every other thread run for a while
// 64 bytes of each lane of this warp, for exchanges.
unsigned char* exchange_slot(unsigned lane);

inline unsigned lane() { return here.thread.x % 32; }

template <typename T>
T shuffle_xor(T value, int step) {
  static_assert(sizeof(T) <= 64);
  std::memcpy(exchange_slot(lane()), &value, sizeof value);
  await_warp();
  std::memcpy(&value, exchange_slot(lane() ^ static_cast<unsigned>(step)), sizeof value);
  await_warp();
  return value;
}

template <typename T>
T exchange(T* at, T value) {
  const T before = *at;
  *at = value;
  return before;
}

}  // namespace emulation

#define threadIdx (emulation::here.thread)
#define blockIdx (emulation::here.block)
#define blockDim (emulation::here.threads)
#define gridDim (emulation::here.blocks)

inline void __syncthreads() { emulation::await_block(); }
template <typename T>
T __shfl_xor_sync(unsigned, T value, int step) {
  return emulation::shuffle_xor(value, step);
}
template <typename T>
T atomicAdd(T* at, T value) {
  return emulation::exchange(at, *at + value);
}
template <typename T>
T atomicMax(T* at, T value) {
  return emulation::exchange(at, *at < value ? value : *at);
}
template <typename T>
T atomicMin(T* at, T value) {
  return emulation::exchange(at, value < *at ? value : *at);
}
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dsub_rn(double a, double b) { return a - b; }
inline float __fsub_rn(float a, float b) { return a - b; }
using std::isfinite;
