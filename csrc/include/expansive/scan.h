// One pass over a matrix: is it finite, how large does it get, and which data is it.
#pragma once

#include <cstdint>

#include "expansive/interrupt.h"
#include "expansive/rows.h"

namespace expansive {

struct Scan {
  int64_t first_bad_row = -1;  // the first with NaN or infinity
  double largest = 0.0;        // magnitude; infinite if a row is bad
};

Scan scan(Rows rows, int threads, Interrupt& interrupt);

// Sum over the matrix's 64-bit words (the last padded with zeros) of mix(word xor mix(position)),
// modulo 2^64; mix is the finaliser of splitmix64. A sum, so any split gives the same value.
uint64_t fingerprint(Rows rows, int threads, Interrupt& interrupt);

}  // namespace expansive
