// One pass over a matrix on the device: is it finite, how large does it get, which data is it.
//
// Fused: both halves of a scan. Cost: one read, bound by memory.
#include <climits>

#include "cuda/device_code.cuh"
#include "cuda/kernels.h"
#include "expansive/scan.h"

namespace expansive::cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kMostBlocks = 4096;

// Magnitudes order like their bits, so the largest is an integer maximum.
template <typename T>
struct BitsOf;
template <>
struct BitsOf<Half> {
  using type = uint16_t;
};
template <>
struct BitsOf<BFloat16> {
  using type = uint16_t;
};
template <>
struct BitsOf<float> {
  using type = uint32_t;
};
template <>
struct BitsOf<double> {
  using type = unsigned long long;
};

template <typename T>
__device__ double value_of(typename BitsOf<T>::type bits) {
  T value;
  memcpy(&value, &bits, sizeof value);
  return to_double(value);
}

__global__ void clear_scan_kernel(ScanResult* result) { *result = {ULLONG_MAX, 0}; }

template <typename T>
__global__ void __launch_bounds__(kThreads)
    scan_kernel(const T* x, int64_t size, int64_t d, ScanResult* result) {
  using Bits = typename BitsOf<T>::type;
  constexpr Bits kMagnitude = static_cast<Bits>(~Bits{0}) >> 1;
  const Bits* elements = reinterpret_cast<const Bits*>(x);
  Bits largest = 0;
  for (int64_t i = global_thread(); i < size; i += all_threads()) {
    const Bits magnitude = elements[i] & kMagnitude;
    if (!isfinite(value_of<T>(magnitude))) {
      atomicMin(&result->first_bad_row, static_cast<unsigned long long>(i / d));
    }
    largest = magnitude > largest ? magnitude : largest;
  }
  const double widest = value_of<T>(largest);
  unsigned long long bits;
  memcpy(&bits, &widest, sizeof bits);
  for (int step = 16; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(kAllLanes, bits, step);
    bits = other > bits ? other : bits;
  }
  if (threadIdx.x % 32 == 0) atomicMax(&result->largest, bits);
}

// The i-th 64-bit word of `size` bytes, which may begin anywhere; what is missing is zero.
__device__ unsigned long long load_word(const unsigned char* bytes, int64_t size, int64_t i,
                                        bool aligned) {
  if (aligned && (i + 1) * 8 <= size) {
    return reinterpret_cast<const unsigned long long*>(bytes)[i];
  }
  unsigned long long word = 0;
  for (int64_t at = i * 8; at < size && at < (i + 1) * 8; ++at) {
    word |= static_cast<unsigned long long>(bytes[at]) << (8 * (at - i * 8));
  }
  return word;
}

__global__ void __launch_bounds__(kThreads)
    fingerprint_kernel(const unsigned char* bytes, int64_t size, unsigned long long* result) {
  const bool aligned = reinterpret_cast<uintptr_t>(bytes) % 8 == 0;
  const int64_t words = divide_up(size, 8);
  unsigned long long sum = 0;
  for (int64_t i = global_thread(); i < words; i += all_threads()) {
    sum += mix(load_word(bytes, size, i, aligned) ^ mix(static_cast<uint64_t>(i)));
  }
  sum = sum_lanes(sum);
  if (threadIdx.x % 32 == 0) atomicAdd(result, sum);
}

}  // namespace

void clear_scan(ScanResult* result, cudaStream_t stream) {
  clear_scan_kernel<<<1, 1, 0, stream>>>(result);
  check_launch("clear_scan");
}

void scan(const Rows& rows, ScanResult* result, cudaStream_t stream) {
  const int64_t size = rows.n * rows.d;
  const unsigned blocks = std::min(blocks_for(size, kThreads), kMostBlocks);
  with_type(rows.dtype, [&](auto element) {
    using T = decltype(element);
    scan_kernel<T>
        <<<blocks, kThreads, 0, stream>>>(static_cast<const T*>(rows.data), size, rows.d, result);
  });
  check_launch("scan");
}

void fingerprint(const Rows& rows, unsigned long long* sum, cudaStream_t stream) {
  check_cuda(cudaMemsetAsync(sum, 0, sizeof *sum, stream), "clearing a sum");
  const int64_t size = rows.n * rows.d * size_of(rows.dtype);
  const unsigned blocks = std::min(blocks_for(size, 8 * kThreads), kMostBlocks);
  fingerprint_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const unsigned char*>(rows.data),
                                                      size, sum);
  check_launch("fingerprint");
}

}  // namespace expansive::cuda
