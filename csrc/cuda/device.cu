#include <algorithm>
#include <cstring>

#include "cuda/device.h"
#include "cuda/runtime.h"

namespace expansive::cuda {
namespace {

constexpr int64_t kStagingBytes = int64_t{8} << 20;
constexpr int kLeastMajor = 8;  // bfloat16 on tensor cores, asynchronous copies to shared memory

std::string capability(const cudaDeviceProp& device) {
  return std::to_string(device.major) + "." + std::to_string(device.minor);
}

cudaDeviceProp properties(int device) {
  cudaDeviceProp found;
  check_cuda(cudaGetDeviceProperties(&found, device), "asking for a device's properties");
  return found;
}

int attribute(cudaDeviceAttr wanted, int device) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, wanted, device), "asking for a device's attribute");
  return value;
}

// A pinned buffer and the end of the last copy from it.
class Staging {
 public:
  Staging() {
    check_cuda(cudaMallocHost(&memory_, kStagingBytes), "allocating pinned memory");
    const cudaError_t status = cudaEventCreateWithFlags(&sent_, cudaEventDisableTiming);
    if (status != cudaSuccess) cudaFreeHost(memory_);
    check_cuda(status, "making an event");
  }
  ~Staging() {
    cudaEventSynchronize(sent_);
    cudaEventDestroy(sent_);
    cudaFreeHost(memory_);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void send(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
    check_cuda(cudaEventSynchronize(sent_), "waiting for a copy");
    std::memcpy(memory_, from, static_cast<size_t>(bytes));
    check_cuda(
        cudaMemcpyAsync(to, memory_, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream),
        "copying to the device");
    check_cuda(cudaEventRecord(sent_, stream), "recording an event");
  }

 private:
  void* memory_ = nullptr;
  cudaEvent_t sent_ = nullptr;
};

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
  const cudaDeviceProp first = properties(0);
  if (first.major >= kLeastMajor) return "";
  return std::string(first.name) + " has compute capability " + capability(first) +
         ", and these kernels need 8.0 or newer";
}

std::string describe_device(int device) {
  const cudaDeviceProp found = properties(device);
  return std::string(found.name) + ", compute capability " + capability(found) + ", " +
         std::to_string(found.totalGlobalMem >> 30) + " GiB";
}

int count_multiprocessors(int device) { return attribute(cudaDevAttrMultiProcessorCount, device); }

int64_t total_memory(int device) { return static_cast<int64_t>(properties(device).totalGlobalMem); }

void* allocate(int64_t bytes, cudaStream_t stream) {
  void* memory = nullptr;
  check_cuda(cudaMallocAsync(&memory, static_cast<size_t>(bytes), stream),
             "allocating device memory");
  return memory;
}

void release(void* memory, cudaStream_t stream) noexcept { cudaFreeAsync(memory, stream); }

void upload(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
  Staging buffers[2];
  for (int64_t at = 0, turn = 0; at < bytes; at += kStagingBytes, turn ^= 1) {
    buffers[turn].send(static_cast<char*>(to) + at, static_cast<const char*>(from) + at,
                       std::min(kStagingBytes, bytes - at), stream);
  }
}

void download(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
  check_cuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream),
             "copying from the device");
  check_cuda(cudaStreamSynchronize(stream), "waiting for the device");
}

}  // namespace expansive::cuda
