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
