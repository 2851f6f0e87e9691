// Points in an order in which neighbours are near: each run is split at the median of its widest
// coordinate, again and again (a k-d tree's leaves, without the tree).
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/grouping.h"
#include "expansive/interrupt.h"

namespace expansive {

// `order` holds the numbers of points [n][dims], all finite; within each run of places they are put
// in order until no part is longer than `leaf`. Parts begin at multiples of `leaf` where their run
// allows.
std::vector<uint32_t> spatial_order(const float* points, int64_t dims,
                                    const std::vector<uint32_t>& order,
                                    const std::vector<Range>& runs, int64_t leaf, int threads,
                                    Interrupt& interrupt);

}  // namespace expansive
