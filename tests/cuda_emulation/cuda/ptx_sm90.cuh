// The instructions of pass A on sm_90a on the host, by the PTX ISA. What is asked for happens as
// late as may be: copies arrive when somebody waits for their barrier, and spoil their place
// before; products are made from what shared memory holds when they are waited for.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "cuda/fragments.h"
#include "cuda/ptx.cuh"

namespace expansive::cuda {
namespace {

// ---- barriers in shared memory -----------------------------------------------------------------

inline constexpr int kBarrierBytes = 8;

struct Barrier {
  uint8_t phase, count, missing, unused;
  int32_t bytes;  // expected, and not yet come
};
static_assert(sizeof(Barrier) == kBarrierBytes);

inline Barrier& barrier_at(SharedAddress address) { return *reinterpret_cast<Barrier*>(address); }

inline void end_phase_if_complete(Barrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.phase ^= 1;
  barrier.missing = barrier.count;
}
inline void init_barrier(SharedAddress barrier, int count) {
  const auto all = static_cast<uint8_t>(count);
  barrier_at(barrier) = {0, all, all, 0, 0};
}
inline void publish_barriers() {}
inline void arrive_expecting(SharedAddress address, int bytes) {
  Barrier& barrier = barrier_at(address);
  barrier.bytes += bytes;
  if (barrier.missing-- == 0) {
    std::fprintf(stderr, "more threads arrive than a barrier expects\n");
    std::abort();
  }
  end_phase_if_complete(barrier);
}
inline void arrive(SharedAddress address) {
  arrive_expecting(address, 0);
  emulation::await_others();  // who waits for it may be quick
}

struct BlockCopy {
  SharedAddress to;
  const uint16_t* from;
  int bytes;
  SharedAddress barrier;
};
inline std::vector<BlockCopy>& block_copies() {
  static std::vector<BlockCopy> under_way;
  return under_way;
}
inline void copy_block(SharedAddress to, const uint16_t* from, int bytes, SharedAddress barrier) {
  if (to % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0 || bytes % 16 != 0) {
    std::fprintf(stderr, "a bulk copy is not aligned to 16 bytes\n");
    std::abort();
  }
  // Zeros, not NaN: what is not a number is never taken for far.
  std::memset(reinterpret_cast<void*>(to), 0, static_cast<size_t>(bytes));
  block_copies().push_back({to, from, bytes, barrier});
}

inline void finish_copies(SharedAddress barrier) {
  std::vector<BlockCopy>& copies = block_copies();
  const auto others = std::stable_partition(
      copies.begin(), copies.end(), [&](const BlockCopy& copy) { return copy.barrier == barrier; });
  for (auto copy = copies.begin(); copy != others; ++copy) {
    std::memcpy(reinterpret_cast<void*>(copy->to), copy->from, static_cast<size_t>(copy->bytes));
    barrier_at(barrier).bytes -= copy->bytes;
  }
  if (others == copies.begin()) return;
  copies.erase(copies.begin(), others);
  end_phase_if_complete(barrier_at(barrier));
}
inline void await_phase(SharedAddress barrier, int parity) {
  for (finish_copies(barrier); barrier_at(barrier).phase == parity; finish_copies(barrier)) {
    emulation::await_others();
  }
}

inline void prefetch(const void*) {}
template <int kRegisters>
void take_registers() {}
template <int kRegisters>
void leave_registers() {}

// ---- products ----------------------------------------------------------------------------------

// Addresses in descriptors are the chip's, of 18 bits, from where shared memory begins.
using Matrix = uint64_t;
inline SharedAddress shared_begin() {
  return shared_address(emulation::dynamic_shared_memory()) / 1024 * 1024;
}
inline Matrix matrix_at(SharedAddress address) {
  return describe_matrix(static_cast<uint32_t>(address - shared_begin()));
}
// An element by the descriptor's fields. Eight lines of 128 bytes lie a stride from the next; the
// bits of an address that number the line within eight are mixed into those that number the 16
// bytes within a line.
inline double matrix_element(Matrix matrix, unsigned line, unsigned column) {
  const auto field = [matrix](int from, int bits) { return matrix >> from & ((1u << bits) - 1u); };
  if (field(62, 2) != 1 || field(49, 3) != 0) {
    std::fprintf(stderr, "a matrix is not swizzled by 128 bytes from a multiple of 1024\n");
    std::abort();
  }
  const uint64_t start = field(0, 14) << 4, eight_lines = field(32, 14) << 4;
  uint64_t address = start + line / 8 * eight_lines + line % 8 * 128 + column * 2;
  address ^= (address >> 7 & 7) << 4;
  uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<const void*>(shared_begin() + address), sizeof bits);
  return element(bits, 0);
}

using WideSums = float[128];

struct Products {
  float* sums;
  Matrix a, b;
  bool add;
};
inline void make_products(const Products& task) {
  const unsigned lane = emulation::lane(), warp = emulation::here.thread.x / 32 % 4;
  for (unsigned i = 0; i < 128; ++i) {
    const unsigned line = 16 * warp + lane / 4 + 8 * (i / 2 % 2);
    const unsigned column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
    double terms[16];
    for (unsigned k = 0; k < 16; ++k) {
      terms[k] = matrix_element(task.a, line, k) * matrix_element(task.b, column, k);
    }
    task.sums[i] = add_products(task.add ? task.sums[i] : 0.0f, terms);
  }
}

inline void begin_products() {}
inline void multiply_wide(WideSums& sums, Matrix a, Matrix b, bool add) {
  groups<Products>().ask({sums, a, b, add});
}
inline void commit_products() { groups<Products>().commit(); }
template <int kPending>
void await_products(WideSums&) {
  groups<Products>().await(kPending, make_products);
  emulation::await_warp();  // a warp goes on together
}

}  // namespace
}  // namespace expansive::cuda
