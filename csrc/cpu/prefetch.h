// Rows to be gathered lie anywhere in memory: ask for them before they are needed.
//
// Internal linkage: this header is compiled once for each instruction set.
#pragma once

#include "expansive/rows.h"

namespace expansive {
namespace {

inline void prefetch(const void* data, int64_t size) {
  const char* bytes = static_cast<const char*>(data);
  for (int64_t offset = 0; offset < size; offset += 64) __builtin_prefetch(bytes + offset);
}

inline void prefetch_row(const Rows& rows, int64_t row) {
  constexpr int64_t kMost = 4096;
  const int64_t size = rows.d * size_of(rows.dtype);
  prefetch(rows.row(row), size < kMost ? size : kMost);
}

}  // namespace
}  // namespace expansive
