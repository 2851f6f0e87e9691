// Words of memory aligned to cache lines, not initialised.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace expansive {

class AlignedWords {
 public:
  explicit AlignedWords(int64_t n)
      : data_(static_cast<uint32_t*>(
            ::operator new[](static_cast<size_t>(n) * sizeof(uint32_t), kCacheLine))) {}

  uint32_t* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kCacheLine{64};
  struct Free {
    void operator()(uint32_t* p) const { ::operator delete[](p, kCacheLine); }
  };
  std::unique_ptr<uint32_t[], Free> data_;
};

}  // namespace expansive
