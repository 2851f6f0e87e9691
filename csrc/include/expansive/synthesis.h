// The synthetic set as a pure function: row i depends on (data, drawing tables, seed, i) alone.
//
// With r0..r2 the Philox words of row i, c the class that owns i:
//   base    = bases of c [(r0 * n_bases) >> 32]
//   partner = partners of base [(r1 * n_partners) >> 32]
//   u       = (r2 >> 8) * 2^-24,  weight = fma(u, high - low, low)
//   value   = fma(weight, x[partner] - x[base], x[base])
// in float32 (float64 for float64 rows), then rounded to the output type, to nearest even.
#pragma once

#include <cmath>
#include <cstdint>

#include "expansive/host_device.h"
#include "expansive/interrupt.h"
#include "expansive/philox.h"
#include "expansive/rows.h"

namespace expansive {

// Compressed tables; *_start arrays have one more entry than what they index.
struct Partners {
  const int64_t* sample_start = nullptr;  // class -> first synthetic row
  const int64_t* base_start = nullptr;    // class -> first entry of bases
  int64_t n_classes = 0;
  const int64_t* bases = nullptr;          // rows of x
  const int64_t* partner_start = nullptr;  // base -> first entry of partners
  const int64_t* partners = nullptr;       // rows of x
  uint64_t seed = 0;
  double low = 0.0;
  double high = 1.0;
};

struct Draw {
  int64_t base;
  int64_t partner;
  uint32_t u;  // 24 random bits
};

// Numbers of synthetic rows: those in `picked`, or first, first + 1, ... where it is null.
struct RowNumbers {
  const int64_t* picked = nullptr;
  int64_t first = 0;

  EXPANSIVE_HOST_DEVICE int64_t operator[](int64_t i) const {
    return picked == nullptr ? first + i : picked[i];
  }
};

// The class that owns a synthetic row.
EXPANSIVE_HOST_DEVICE inline int64_t class_of(const Partners& partners, int64_t row) {
  int64_t low = 0, high = partners.n_classes;  // sample_start[low] <= row < sample_start[high]
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (partners.sample_start[middle] <= row ? low : high) = middle;
  }
  return low;
}

// A number below n from a random word.
EXPANSIVE_HOST_DEVICE inline int64_t pick(uint32_t word, int64_t n) {
  return static_cast<int64_t>((uint64_t{word} * static_cast<uint64_t>(n)) >> 32);
}

// The place among `bases` that a row's first random word picks.
EXPANSIVE_HOST_DEVICE inline int64_t pick_base(const Partners& partners, int64_t row,
                                               uint32_t word) {
  const int64_t group = class_of(partners, row);
  const int64_t first = partners.base_start[group];
  return first + pick(word, partners.base_start[group + 1] - first);
}

// What a row's random words pick.
EXPANSIVE_HOST_DEVICE inline Draw pick_all(const Partners& partners, int64_t row, uint32_t word0,
                                           uint32_t word1, uint32_t word2) {
  const int64_t base = pick_base(partners, row, word0);
  const int64_t first_partner = partners.partner_start[base];
  const int64_t partner =
      first_partner + pick(word1, partners.partner_start[base + 1] - first_partner);
  return {partners.bases[base], partners.partners[partner], word2 >> 8};
}

EXPANSIVE_HOST_DEVICE inline Draw draw(const Partners& partners, int64_t row) {
  const Philox4 random = philox_of_row(static_cast<uint64_t>(row), partners.seed);
  return pick_all(partners, row, random.word[0], random.word[1], random.word[2]);
}

EXPANSIVE_HOST_DEVICE inline float weight_float32(const Partners& partners, uint32_t u) {
  const float low = static_cast<float>(partners.low), high = static_cast<float>(partners.high);
  return ::fmaf(static_cast<float>(u) * 0x1p-24f, high - low, low);
}

EXPANSIVE_HOST_DEVICE inline double weight_float64(const Partners& partners, uint32_t u) {
  return ::fma(static_cast<double>(u) * 0x1p-24, partners.high - partners.low, partners.low);
}

// Makes the first out.n of the numbered rows.
void synthesize(Rows x, const Partners& partners, RowNumbers rows, int threads,
                Interrupt& interrupt, MutableRows out);

// Rows of given recipes: row i from x[base[i]], x[partner[i]] and weight[i], which holds a float32
// value unless x is float64.
void interpolate_rows(Rows x, const int64_t* base, const int64_t* partner, const double* weight,
                      int threads, Interrupt& interrupt, MutableRows out);

}  // namespace expansive
