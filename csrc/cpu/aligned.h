// Words of memory aligned to cache lines, not initialised; large ones on large pages, because they
// are read from anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace expansive {

class AlignedWords {
 public:
  explicit AlignedWords(int64_t n) : data_(allocate(static_cast<size_t>(n) * sizeof(uint32_t))) {}

  uint32_t* data() const { return data_.get(); }

 private:
  static constexpr size_t kCacheLine = 64;
  static constexpr size_t kLargePage = 2 << 20;

  struct Free {
    std::align_val_t alignment;
    void operator()(uint32_t* p) const { ::operator delete[](p, alignment); }
  };
  using Owner = std::unique_ptr<uint32_t[], Free>;

  static Owner allocate(size_t bytes) {
    const bool large = bytes >= 2 * kLargePage;
    const std::align_val_t alignment{large ? kLargePage : kCacheLine};
    Owner owner(static_cast<uint32_t*>(::operator new[](bytes, alignment)), Free{alignment});
#if defined(__linux__)
    // Only a wish: without large pages it works as well, more slowly.
    if (large) madvise(owner.get(), bytes, MADV_HUGEPAGE);
#endif
    return owner;
  }

  Owner data_;
};

}  // namespace expansive
