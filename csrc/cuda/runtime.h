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

// Makes a device the calling thread's current one, and the former one again in the end. Where it is
// that already, nothing is set: to set a device is to make a context on it, also on the former one.
// (Torch leaves a tensor's device current when the one before has no context.)
class OnDevice {
 public:
  explicit OnDevice(int device) : device_(device) {
    check_cuda(cudaGetDevice(&before_), "asking for the current device");
    if (before_ != device_) check_cuda(cudaSetDevice(device_), "choosing a device");
  }
  ~OnDevice() {
    if (before_ != device_) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int device_;
  int before_ = 0;
};

}  // namespace expansive::cuda
