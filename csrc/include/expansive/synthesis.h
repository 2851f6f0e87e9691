// The synthetic set as a pure function: row i depends on (data, drawing tables, seed, i) alone.
//
// With r0..r2 the Philox words of row i, c the class that owns i:
//   base    = bases of c [(r0 * n_bases) >> 32]
//   partner = partners of base [(r1 * n_partners) >> 32]
//   u       = (r2 >> 8) * 2^-24,  weight = fma(u, high - low, low)
//   value   = fma(weight, x[partner] - x[base], x[base])
// in float32 (float64 for float64 rows), then rounded to the output type, to nearest even.
#pragma once

#include <cstdint>

#include "expansive/interrupt.h"
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

// `n` synthetic rows: the numbers in `rows`.
Draw draw(const Partners& partners, int64_t row);
float weight_float32(const Partners& partners, uint32_t u);
double weight_float64(const Partners& partners, uint32_t u);
void synthesize(Rows x, const Partners& partners, const int64_t* rows, int threads,
                Interrupt& interrupt, MutableRows out);

}  // namespace expansive
