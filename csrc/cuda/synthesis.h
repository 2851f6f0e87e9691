// Synthetic rows on a CUDA device: the contract is that of expansive/synthesis.h, bit for bit.
// All pointers, those in the tables too, are the device's; all work goes to the stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "expansive/rows.h"
#include "expansive/synthesis.h"

namespace expansive::cuda {

// Makes the first out.n of the numbered rows. `labels` takes the class of each, counted as the
// tables count them; it may be null.
void synthesize(const Rows& x, const Partners& partners, RowNumbers rows, const MutableRows& out,
                int64_t* labels, cudaStream_t stream);

// Base, partner and weight of `count` rows, without the rows. The weights are float64 if `wide`,
// else float32.
void draw_rows(const Partners& partners, RowNumbers rows, int64_t count, int64_t* base,
               int64_t* partner, void* weight, bool wide, cudaStream_t stream);

}  // namespace expansive::cuda
