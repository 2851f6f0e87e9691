// Functions that the host and CUDA kernels share are compiled for both.
#pragma once

#if defined(__CUDACC__)
#define EXPANSIVE_HOST_DEVICE __host__ __device__
#else
#define EXPANSIVE_HOST_DEVICE
#endif

// No copy of its own that a linker could choose for everybody: a header of such functions may be
// compiled for several instruction sets.
#define EXPANSIVE_ALWAYS_INLINE inline __attribute__((always_inline))

// Before a loop whose array has to stay in registers on a GPU; a host's compiler decides by itself.
#if defined(__CUDA_ARCH__)
#define EXPANSIVE_UNROLL _Pragma("unroll")
#else
#define EXPANSIVE_UNROLL
#endif
