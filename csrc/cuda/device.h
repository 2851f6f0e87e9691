// Which CUDA devices there are, and memory on them for data that comes from the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

namespace expansive::cuda {

// What keeps the kernels from running here, on any device; empty when nothing does.
std::string find_problem();
// Throws std::invalid_argument if they cannot run on this device.
void check_device(int device);

// Name, compute capability and memory of a device, in a line.
std::string describe_device(int device);

// What the search has to know of a device.
struct Chip {
  int multiprocessors;
  bool has_wgmma;  // and this module was compiled for it
};
Chip chip_of(int device);

// A device's memory in bytes.
int64_t total_memory(int device);

// Memory in the order of a stream.
void* allocate(int64_t bytes, cudaStream_t stream);
void release(void* memory, cudaStream_t stream) noexcept;

// Copies through pinned buffers, so that one is filled while others travel. Returns when `from` may
// change, but perhaps before the copies have begun; it waits for earlier ones only when too many
// are under way.
void upload(void* to, const void* from, int64_t bytes, cudaStream_t stream);

// Returns when all of it has arrived.
void download(void* to, const void* from, int64_t bytes, cudaStream_t stream);

}  // namespace expansive::cuda
