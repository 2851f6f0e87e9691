// Where the data lie, by a sample of the rows.
#pragma once

#include <vector>

#include "cpu/isa.h"
#include "expansive/interrupt.h"
#include "expansive/rows.h"

namespace expansive {

// Nothing here is a bound: it decides only how much of the data the screens can exclude.
struct Extent {
  // The median of each coordinate, because a mean would follow a single huge value; padded with
  // zeros to a multiple of 8.
  std::vector<double> centre;
  double low;       // the smallest value of any coordinate
  double high;      // the largest
  double spread;    // median distance from the centre
  double farthest;  // the largest
};

// Of some values, which it orders as it likes.
double median(std::vector<double>& values);

// Of at most so many rows. `row_scales` multiply them; empty: all one.
Extent find_extent(const Rows& rows, const Kernels& kernels, const std::vector<double>& row_scales,
                   int64_t most, int threads, Interrupt& interrupt);

}  // namespace expansive
