// The package's own thread pool: survives fork, serves concurrent callers, stops on request.
#pragma once

#include <cstdint>
#include <functional>

#include "expansive/interrupt.h"

namespace expansive {

// Runs body(task, worker) for every task in [0, n_tasks) on up to `threads` threads and returns
// when all are done. The caller works too, as worker 0. The first exception of any task is thrown
// here, after the others have stopped. Tasks run under the default floating-point environment,
// whatever flags (flush to zero, rounding) the caller has set.
void parallel_for(int64_t n_tasks, int threads, Interrupt& interrupt,
                  const std::function<void(int64_t task, int worker)>& body);

}  // namespace expansive
