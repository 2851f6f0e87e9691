// Products of the rows of two matrices, as rough as the screen's: what guesses are made from.
#pragma once

#include "cpu/projection.h"
#include "expansive/interrupt.h"

namespace expansive {

// products[i][j] = sum of a[i][f] * b[j][f] over f; a.columns must be b.columns. Operands are
// rounded to the screen's elements. Cost: a.rows * b.rows * columns multiply-adds; `b` is packed by
// one thread and should be the smaller one.
void multiply(const FloatView& a, const FloatView& b, int threads, Interrupt& interrupt,
              float* products);

}  // namespace expansive
