// One synthetic row: gather two rows, interpolate, round and store in one pass.
//
// value = fma(weight, partner - base, base) in float32, or in float64 when the rows are float64.
// Cost: two reads and one write of d elements, bound by memory. An output that outgrows the caches
// is streamed past them, which saves reading it before it is overwritten.
#pragma once

#include "cpu/isa.h"

namespace expansive {
namespace {

template <bool kStream, typename In, typename Out>
void interpolate_floats(const InterpolateTask& task) {
  const In* base = static_cast<const In*>(task.base);
  const In* partner = static_cast<const In*>(task.partner);
  Out* out = static_cast<Out*>(task.out);
  const float weight = static_cast<float>(task.weight);
  const auto one = [&](int64_t j) {
    const float start = to_float(base[j]);
    from_float(__builtin_fmaf(weight, to_float(partner[j]) - start, start), out + j);
  };
  int64_t j = 0;
  if (kStream) {  // streaming stores want whole vectors
    while (j < task.d && reinterpret_cast<uintptr_t>(out + j) % (kFloats * sizeof(Out)) != 0)
      one(j++);
  }
  for (; j + kFloats <= task.d; j += kFloats) {
    store_floats<kStream>(out + j, lerp(load_floats(base + j), load_floats(partner + j), weight));
  }
  while (j < task.d) one(j++);
}

template <typename In, typename Out>
void interpolate(const InterpolateTask& task) {
  if (task.stream) {
    interpolate_floats<true, In, Out>(task);
  } else {
    interpolate_floats<false, In, Out>(task);
  }
}

template <typename Out>
void interpolate_double(const InterpolateTask& task) {
  const double* base = static_cast<const double*>(task.base);
  const double* partner = static_cast<const double*>(task.partner);
  Out* out = static_cast<Out*>(task.out);
  for (int64_t j = 0; j < task.d; ++j) {
    from_double(__builtin_fma(task.weight, partner[j] - base[j], base[j]), out + j);
  }
}

}  // namespace
}  // namespace expansive
