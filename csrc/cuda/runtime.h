// The CUDA runtime with errors as exceptions, and the device that a call works on.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace expansive::cuda {

inline void check_cuda(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forget it, or the next launch would report it
  throw std::runtime_error(std::string("CUDA failed while ") + doing + ": " +
                           cudaGetErrorString(status));
}

// After a kernel launch: whether it could be started. What happens while it runs shows later.
inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

// Whether this process uses a device already. The driver is asked by name: nothing links to it.
inline bool is_in_use(int device) {
#if CUDART_VERSION >= 12050
  using AskState = int (*)(int device, unsigned* flags, int* active);
  static const AskState ask = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    constexpr unsigned kSince = 7000;
    const cudaError_t status = cudaGetDriverEntryPointByVersion(
        "cuDevicePrimaryCtxGetState", &found, kSince, cudaEnableDefault, &result);
    return status == cudaSuccess ? reinterpret_cast<AskState>(found) : nullptr;
  }();
  unsigned flags = 0;
  int active = 1;
  if (ask != nullptr) ask(device, &flags, &active);
  return active != 0;
#else
  return device >= 0;  // older runtimes cannot be asked: take it for used
#endif
}

// Makes a device the calling thread's current one, and the former one again in the end. To choose a
// device is to use its memory, so one that nobody has used yet is left alone.
class OnDevice {
 public:
  explicit OnDevice(int device) : device_(device) {
    check_cuda(cudaGetDevice(&before_), "asking for the current device");
    if (before_ != device_) check_cuda(cudaSetDevice(device_), "choosing a device");
  }
  ~OnDevice() {
    if (before_ != device_ && is_in_use(before_)) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int device_;
  int before_ = 0;
};

}  // namespace expansive::cuda
