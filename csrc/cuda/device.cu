#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "cuda/device.h"
#include "cuda/runtime.h"
#include "expansive/check.h"

namespace expansive::cuda {
namespace {

constexpr int64_t kStagingBytes = int64_t{4} << 20;
constexpr int kMostStaging = 16;  // more only for as many threads that upload at a time
constexpr int kLeastMajor = 8;    // bfloat16 on tensor cores, asynchronous copies to shared memory

std::string capability(const cudaDeviceProp& device) {
  return std::to_string(device.major) + "." + std::to_string(device.minor);
}

int attribute(cudaDeviceAttr wanted, int device) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, wanted, device), "asking for a device's attribute");
  return value;
}

cudaDeviceProp properties(int device) {
  cudaDeviceProp found;
  check_cuda(cudaGetDeviceProperties(&found, device), "asking for a device's properties");
  return found;
}

// What keeps the kernels from running on one device.
std::string find_problem_of(int device) {
  if (attribute(cudaDevAttrComputeCapabilityMajor, device) < kLeastMajor) {
    const cudaDeviceProp found = properties(device);
    return std::string(found.name) + " has compute capability " + capability(found) +
           ", and these kernels need 8.0 or newer";
  }
  if (attribute(cudaDevAttrMemoryPoolsSupported, device) == 0) {
    return std::string(properties(device).name) +
           " has no memory pools, which these kernels need (some virtual GPUs lack them)";
  }
  return "";
}

// A pinned buffer, and the event that ends the last copy from it.
struct Staging {
  void* memory = nullptr;
  cudaEvent_t sent = nullptr;
};

Staging make_staging() {
  Staging made;
  check_cuda(cudaMallocHost(&made.memory, kStagingBytes), "allocating pinned memory");
  const cudaError_t status = cudaEventCreateWithFlags(&made.sent, cudaEventDisableTiming);
  if (status != cudaSuccess) cudaFreeHost(made.memory);
  check_cuda(status, "making an event");
  return made;
}

// A device's pinned buffers that nobody is filling, the longest unused first. They are kept: to
// make and to free pinned memory waits for the device.
class StagingPool {
 public:
  // Waits for a copy only where kMostStaging of them are under way.
  Staging take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool ready = !idle_.empty() && is_done(idle_.front().sent);
    if (!ready && (idle_.empty() || made_ < kMostStaging)) {
      const Staging made = make_staging();
      ++made_;
      return made;
    }
    const Staging oldest = idle_.front();
    if (!ready) check_cuda(cudaEventSynchronize(oldest.sent), "waiting for a copy");
    idle_.pop_front();
    return oldest;
  }
  void give_back(const Staging& buffer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(buffer);
  }

 private:
  static bool is_done(cudaEvent_t event) {
    const cudaError_t status = cudaEventQuery(event);
    if (status == cudaErrorNotReady) {
      cudaGetLastError();  // forget it, or the next launch would report it
      return false;
    }
    check_cuda(status, "asking for a copy");
    return true;
  }

  std::mutex mutex_;
  std::deque<Staging> idle_;
  int made_ = 0;
};

// The current device's. Never destroyed: at the end of the process the runtime may be gone.
StagingPool& staging_pool() {
  static auto& pools = *new std::map<int, StagingPool>;
  static std::mutex mutex;
  int device = 0;
  check_cuda(cudaGetDevice(&device), "asking for the current device");
  const std::lock_guard<std::mutex> lock(mutex);
  return pools[device];
}

}  // namespace

std::string find_problem() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0) {
    cudaGetLastError();  // forget it, or the next call would report it
    return "no NVIDIA driver is installed on this machine";
  }
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    return std::string("no CUDA device can be used (") +
           (status == cudaSuccess ? "none is visible" : cudaGetErrorString(status)) + ")";
  }
  std::string problem;
  for (int device = count - 1; device >= 0; --device) {
    problem = find_problem_of(device);
    if (problem.empty()) break;
  }
  return problem;
}

void check_device(int device) {
  const std::string problem = find_problem_of(device);
  check(problem.empty(), "cuda:" + std::to_string(device) + " cannot be used: " + problem);
}

Chip chip_of(int device) {
#ifdef EXPANSIVE_WGMMA
  const bool has_wgmma = attribute(cudaDevAttrComputeCapabilityMajor, device) == 9;
#else
  const bool has_wgmma = false;
#endif
  return {attribute(cudaDevAttrMultiProcessorCount, device), has_wgmma};
}

std::string describe_device(int device) {
  const cudaDeviceProp found = properties(device);
  return std::string(found.name) + ", compute capability " + capability(found) + ", " +
         std::to_string(found.totalGlobalMem >> 30) + " GiB, screens by " +
         (chip_of(device).has_wgmma ? "wgmma" : "mma.sync");
}

int64_t total_memory(int device) {
  const OnDevice here(device);
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "asking for a device's memory");
  return static_cast<int64_t>(total);
}

void* allocate(int64_t bytes, cudaStream_t stream) {
  void* memory = nullptr;
  check_cuda(cudaMallocAsync(&memory, static_cast<size_t>(bytes), stream),
             "allocating device memory");
  return memory;
}

void release(void* memory, cudaStream_t stream) noexcept {
  if (cudaFreeAsync(memory, stream) != cudaSuccess) cudaGetLastError();
}

void upload(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
  StagingPool& pool = staging_pool();
  for (int64_t at = 0; at < bytes; at += kStagingBytes) {
    const size_t part = static_cast<size_t>(std::min(kStagingBytes, bytes - at));
    const Staging buffer = pool.take();
    std::memcpy(buffer.memory, static_cast<const char*>(from) + at, part);
    const cudaError_t copied = cudaMemcpyAsync(static_cast<char*>(to) + at, buffer.memory, part,
                                               cudaMemcpyHostToDevice, stream);
    const cudaError_t recorded = cudaEventRecord(buffer.sent, stream);
    pool.give_back(buffer);
    check_cuda(copied, "copying to the device");
    check_cuda(recorded, "recording an event");
  }
}

void download(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
  check_cuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream),
             "copying from the device");
  check_cuda(cudaStreamSynchronize(stream), "waiting for the device");
}

}  // namespace expansive::cuda
