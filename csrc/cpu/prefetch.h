// Rows to be gathered lie anywhere in memory: ask for them before they are needed.
//
// Internal linkage: this header is compiled once for each instruction set.
#pragma once

#include <cstdint>

namespace expansive {
namespace {

inline void prefetch(const void* data, int64_t size) {
  const char* bytes = static_cast<const char*>(data);
  for (int64_t offset = 0; offset < size; offset += 64) __builtin_prefetch(bytes + offset);
}

// Of a long row the beginning: the processor sees where it goes on.
inline void prefetch_row(const void* row, int64_t size) {
  constexpr int64_t kMost = 4096;
  prefetch(row, size < kMost ? size : kMost);
}

}  // namespace
}  // namespace expansive
