// Rows to be gathered lie anywhere in memory: ask for them before they are needed.
#pragma once

#include <algorithm>

#include "expansive/rows.h"

namespace expansive {

inline void prefetch(const void* data, int64_t size) {
  const char* bytes = static_cast<const char*>(data);
  for (int64_t offset = 0; offset < size; offset += 64) __builtin_prefetch(bytes + offset);
}

inline void prefetch_row(const Rows& rows, int64_t row) {
  prefetch(rows.row(row), std::min<int64_t>(rows.d * size_of(rows.dtype), 4096));
}

}  // namespace expansive
