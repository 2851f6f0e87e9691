// The CUDA runtime with errors as exceptions, and the device that a call works on.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace expansive::cuda {

inline void check_cuda(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA failed while ") + doing + ": " +
                           cudaGetErrorString(status));
}

// After a kernel launch: whether it could be started. What happens while it runs shows later.
inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

// Makes a device the calling thread's current one, and the former one again in the end.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    check_cuda(cudaGetDevice(&before_), "asking for the current device");
    check_cuda(cudaSetDevice(device), "choosing a device");
  }
  ~OnDevice() { cudaSetDevice(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
};

}  // namespace expansive::cuda
