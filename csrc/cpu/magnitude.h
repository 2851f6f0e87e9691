// The largest magnitude of a row: whether it is finite, and how large. Bound by memory.
#pragma once

#include <cstring>

#include "cpu/isa.h"

namespace expansive {
namespace {

// NaN or infinity if the row holds one. Magnitudes order like their bits, so this is an integer
// maximum, which the compiler vectorises.
template <typename T, typename Bits>
double largest_magnitude(const void* row, int64_t d) {
  constexpr Bits kMagnitude = static_cast<Bits>(~Bits{0}) >> 1;
  const unsigned char* bytes = static_cast<const unsigned char*>(row);
  Bits largest = 0;
  for (int64_t j = 0; j < d; ++j) {
    Bits bits;
    std::memcpy(&bits, bytes + j * static_cast<int64_t>(sizeof(Bits)), sizeof bits);
    bits &= kMagnitude;
    largest = bits > largest ? bits : largest;
  }
  T value;
  std::memcpy(&value, &largest, sizeof value);
  return to_double(value);
}

}  // namespace
}  // namespace expansive
