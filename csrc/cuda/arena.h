// One piece of memory handed out in aligned parts. Laid out from null it tells the size needed.
#pragma once

#include <cstdint>

#include "cpu/integers.h"

namespace expansive::cuda {

class Arena {
 public:
  explicit Arena(void* memory) : start_(reinterpret_cast<uintptr_t>(memory)) {}

  template <typename T>
  T* take(int64_t count) {
    constexpr int64_t kAlignment = 256;
    T* part = reinterpret_cast<T*>(start_ + static_cast<uintptr_t>(used_));
    used_ += round_up(count * static_cast<int64_t>(sizeof(T)), kAlignment);
    return part;
  }
  int64_t used() const { return used_; }

 private:
  uintptr_t start_;
  int64_t used_ = 0;
};

}  // namespace expansive::cuda
