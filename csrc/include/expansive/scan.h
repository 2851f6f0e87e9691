// One pass over a matrix: is it finite, how large does it get, and which data is it.
#pragma once

#include <cstdint>

#include "expansive/host_device.h"
#include "expansive/interrupt.h"
#include "expansive/rows.h"

namespace expansive {

struct Scan {
  int64_t first_bad_row = -1;  // the first with NaN or infinity
  double largest = 0.0;        // magnitude; infinite if a row is bad
};

Scan scan(Rows rows, int threads, Interrupt& interrupt);

// The finaliser of splitmix64 (Steele, Lea and Flood 2014).
EXPANSIVE_HOST_DEVICE inline uint64_t mix(uint64_t word) {
  word += 0x9E3779B97F4A7C15u;
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
  return word ^ (word >> 31);
}

// Sum over the matrix's 64-bit words (the last padded with zeros) of mix(word xor mix(position)),
// modulo 2^64. A sum, so any split gives the same value.
uint64_t fingerprint(Rows rows, int threads, Interrupt& interrupt);

}  // namespace expansive
