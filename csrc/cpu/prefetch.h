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
  __builtin_prefetch(bytes + size - 1);  // rows need not begin with a cache line
  asm volatile("");  // GCC drops calls of a function that does nothing but prefetch
}

// Of a long row the beginning: the processor sees where it goes on.
inline void prefetch_row(const void* row, int64_t size) {
  constexpr int64_t kMost = 4096;
  prefetch(row, size < kMost ? size : kMost);
}

// Visits 0 to count - 1 in order, each asked for some time before.
template <typename Ask, typename Visit>
void visit_ahead(int64_t count, int64_t ahead, const Ask& ask, const Visit& visit) {
  for (int64_t i = 0; i < ahead && i < count; ++i) ask(i);
  for (int64_t i = 0; i < count; ++i) {
    if (i + ahead < count) ask(i + ahead);
    visit(i);
  }
}

// Rows of `size` bytes that make up `bytes`: at least one, at most `most`.
inline int64_t rows_ahead(int64_t bytes, int64_t size, int64_t most) {
  const int64_t fitting = bytes / size;
  return fitting < 1 ? 1 : (fitting > most ? most : fitting);
}

// Visits `count` rows of `size` bytes, all asked for ahead: in groups, each given by the number of
// its first row, then one by one those that are left.
template <int kRows, typename RowAt, typename VisitGroup, typename VisitOne>
void visit_rows(int64_t count, int64_t size, const RowAt& row_at, const VisitGroup& visit_group,
                const VisitOne& visit_one) {
  constexpr int64_t kBytesAhead = 6144, kMostGroups = 8;
  const int64_t groups = count / kRows, left = groups * kRows;
  for (int64_t i = left; i < count; ++i) prefetch_row(row_at(i), size);
  visit_ahead(
      groups, rows_ahead(kBytesAhead, size * kRows, kMostGroups),
      [&](int64_t group) {
        for (int r = 0; r < kRows; ++r) prefetch_row(row_at(group * kRows + r), size);
      },
      [&](int64_t group) { visit_group(group * kRows); });
  for (int64_t i = left; i < count; ++i) visit_one(i);
}

}  // namespace
}  // namespace expansive
