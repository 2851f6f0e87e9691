// The table of one instruction set. A translation unit includes its lanes, then this, and defines
// its table; nothing else may stand there, so that no shared inline function is compiled with
// instructions the processor may lack.
#pragma once

#include "cpu/interpolate.h"
#include "cpu/isa.h"
#include "cpu/project.h"
#include "cpu/refine.h"
#include "cpu/rescreen.h"
#include "cpu/screen.h"

namespace expansive {
namespace {

template <int kTileQueries, int kVectors>
constexpr Kernels make_kernels(const char* name) {
  return {
      name,
      kTileQueries,
      kVectors * Vector::kWidth,
      kElementsPerWord,
      kRoundingsPerTerm,
      kUnderflowPerTerm,
      screen<kTileQueries, kVectors>,
      rescreen,
      {prepare<Half>, prepare<BFloat16>, prepare<float>, prepare<double>},
      {move<Half>, move<BFloat16>, move<float>, move<double>},
      project<kTileQueries, kVectors>,
      {widen<Half>, widen<BFloat16>, widen<float>, widen<double>},
      {refine<Half>, refine<BFloat16>, refine<float>, refine<double>},
      {
          {interpolate<Half, Half>, interpolate<Half, BFloat16>, interpolate<Half, float>,
           interpolate<Half, double>},
          {interpolate<BFloat16, Half>, interpolate<BFloat16, BFloat16>,
           interpolate<BFloat16, float>, interpolate<BFloat16, double>},
          {interpolate<float, Half>, interpolate<float, BFloat16>, interpolate<float, float>,
           interpolate<float, double>},
          {interpolate_double<Half>, interpolate_double<BFloat16>, interpolate_double<float>,
           interpolate_double<double>},
      },
      fence_streams,
  };
}

}  // namespace
}  // namespace expansive
