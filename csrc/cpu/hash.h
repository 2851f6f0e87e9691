// The hash of a matrix's bytes, a sum over its 64-bit words, so that parts of it can be added.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "expansive/scan.h"

namespace expansive {

// The words [from, end) of `size` bytes, the last word of all padded with zeros.
inline uint64_t hash_words(const void* data, int64_t size, int64_t from, int64_t end) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  const int64_t whole = std::min(end, size / 8);
  const auto hash = [](uint64_t word, int64_t i) {
    return mix(word ^ mix(static_cast<uint64_t>(i)));
  };
  uint64_t sum = 0, word = 0;
  for (int64_t i = from; i < whole; ++i) {
    std::memcpy(&word, bytes + i * 8, 8);
    sum += hash(word, i);
  }
  if (whole == end) return sum;
  word = 0;
  std::memcpy(&word, bytes + whole * 8, static_cast<size_t>(size - whole * 8));
  return sum + hash(word, whole);
}

}  // namespace expansive
