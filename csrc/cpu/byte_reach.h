// How far from the centre bytes of the screen may reach: a guess from a sample.
//
// Farther means longer steps, so that images tell rows apart less well; less far, that more rows
// are drawn in, which brings them nearer to others than they are.
#pragma once

#include <vector>

#include "cpu/isa.h"
#include "cpu/row_sample.h"
#include "expansive/interrupt.h"

namespace expansive {

struct ByteReach {
  double step;  // how long; bytes reach `inner_byte` of them
  // What drawing in takes from the squared lengths of some rows; none where it is not tried.
  std::vector<double> lost = {};
};

// Some to choose from. Within the first are all sampled rows but a few; rows of many features may
// be worth more, where drawing in takes no time: there it is tried.
std::vector<ByteReach> find_reaches(const RowSample& sample, const Elements& elements,
                                    const std::vector<double>& centre, int64_t d, int threads,
                                    Interrupt& interrupt);

}  // namespace expansive
