// Matrices of row vectors as every kernel takes them: a pointer, a shape and an element type.
#pragma once

#include <cstdint>

namespace expansive {

// Half-precision values are carried as their bits, so that no compiler support is needed.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

enum class DType : uint8_t { float16, bfloat16, float32, float64 };
inline constexpr int kDTypes = 4;

constexpr int64_t size_of(DType dtype) {
  return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2;
}

// Row-major, contiguous, n x d. Not owned.
struct Rows {
  const void* data = nullptr;
  int64_t n = 0;
  int64_t d = 0;
  DType dtype = DType::float32;

  const void* row(int64_t i) const {
    return static_cast<const char*>(data) + i * d * size_of(dtype);
  }
};

struct MutableRows {
  void* data = nullptr;
  int64_t n = 0;
  int64_t d = 0;
  DType dtype = DType::float32;

  void* row(int64_t i) const { return static_cast<char*>(data) + i * d * size_of(dtype); }
};

}  // namespace expansive
