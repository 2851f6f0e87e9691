// The instructions of pass A on sm_90a that C++ has no names for (PTX ISA 8.0).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/fragments.h"
#include "cuda/ptx.cuh"

namespace expansive::cuda {
namespace {

// ---- barriers in shared memory -----------------------------------------------------------------

// A barrier of 8 bytes ends a phase when `count` threads have arrived and all bytes that they said
// to expect have come; phases alternate between the parities 0 and 1.
inline constexpr int kBarrierBytes = 8;

__device__ inline void init_barrier(SharedAddress barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(count) : "memory");
}
// After the last of them, before others and the copies use them.
__device__ inline void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
}
__device__ inline void arrive(SharedAddress barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}
__device__ inline void arrive_expecting(SharedAddress barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier), "r"(bytes)
               : "memory");
}
// Waits for the end of the phase of this parity. The phase before the first has parity 1.
__device__ inline void await_phase(SharedAddress barrier, int parity) {
  int ended;
  do {
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.s32 %0, 1, 0, ended;\n"
        "}\n"
        : "=r"(ended)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (ended == 0);
}

// Copies `bytes`, a multiple of 16, which arrive at the barrier.
__device__ inline void copy_block(SharedAddress to, const uint16_t* from, int bytes,
                                  SharedAddress barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::
          "r"(to),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
      : "memory");
}

// ---- registers ---------------------------------------------------------------------------------

// Of each thread of four warps, which all have to ask.
template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void leave_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}

// ---- cache -------------------------------------------------------------------------------------

// Brings the 128 bytes around an address to the multiprocessor's own cache.
__device__ inline void prefetch(const void* address) {
  asm volatile("prefetch.global.L1 [%0];\n" ::"l"(__cvta_generic_to_global(address)));
}

// ---- products ----------------------------------------------------------------------------------

// See fragments.h.
using Matrix = uint64_t;
__device__ inline Matrix matrix_at(SharedAddress address) { return describe_matrix(address); }

// The sums of one of a team's threads, of 64 x 256: number 4 g + 2 u + i is that of line
// 16 · (warp % 4) + lane / 4 + 8 u and column 8 g + 2 · (lane % 4) + i.
using WideSums = float[128];

__device__ inline void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}
__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
// Waits until no more than kPending of the committed groups are under way.
template <int kPending>
__device__ inline void await_products(WideSums& sums) {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
  if constexpr (kPending == 0) {
#pragma unroll
    for (float& sum : sums) asm volatile("" : "+f"(sum)::"memory");  // none is read before
  }
}

#define EXPANSIVE_EIGHT(i)                                                                   \
  "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), "+f"(sums[i + 4]), \
      "+f"(sums[i + 5]), "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define EXPANSIVE_32(i) \
  EXPANSIVE_EIGHT(i), EXPANSIVE_EIGHT(i + 8), EXPANSIVE_EIGHT(i + 16), EXPANSIVE_EIGHT(i + 24)

// Adds the products of 16 columns, a team's 64 lines of `a` by 256 of `b`, or begins anew with
// them.
__device__ inline void multiply_wide(WideSums& sums, Matrix a, Matrix b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.ne.b32 add, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "
      "%127}, %128, %129, add, 1, 1, 0, 0;\n"
      "}\n"
      : EXPANSIVE_32(0), EXPANSIVE_32(32), EXPANSIVE_32(64), EXPANSIVE_32(96)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

#undef EXPANSIVE_32
#undef EXPANSIVE_EIGHT

}  // namespace
}  // namespace expansive::cuda
