// Functions that the host and CUDA kernels share are compiled for both.
#pragma once

#if defined(__CUDACC__)
#define EXPANSIVE_HOST_DEVICE __host__ __device__
#else
#define EXPANSIVE_HOST_DEVICE
#endif
