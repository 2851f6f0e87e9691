// The table of one instruction set. A translation unit includes its lanes, then this (and where
// there is a screen by bytes, its columns and screen_int8.h), and defines its tables; nothing else
// may stand there, so that no shared inline function is compiled with instructions the processor
// may lack.
#pragma once

#include "cpu/boxes.h"
#include "cpu/bytes.h"
#include "cpu/estimate.h"
#include "cpu/interpolate.h"
#include "cpu/isa.h"
#include "cpu/lists.h"
#include "cpu/magnitude.h"
#include "cpu/project.h"
#include "cpu/random.h"
#include "cpu/refine.h"
#include "cpu/screen.h"

namespace expansive {
namespace {

template <int kTileQueries, int kVectors>
constexpr Kernels make_kernels(const char* name) {
  static_assert(kTileQueries <= kMostTileQueries);
  static_assert(kVectors * Vector::kWidth <= kMostPanelColumns);
  return {
      name,
      kTileQueries,
      kVectors * Vector::kWidth,
      kElements,
      screen<kTileQueries, kVectors>,
      {prepare_bytes<Half>, prepare_bytes<BFloat16>, prepare_bytes<float>, prepare_bytes<double>},
      compare_bytes,
      measure_boxes,
      any_within_reach<kTileQueries>,
      {prepare<Half>, prepare<BFloat16>, prepare<float>, prepare<double>},
      project<kTileQueries, kVectors>,
      {widen<Half>, widen<BFloat16>, widen<float>, widen<double>},
      {refine<Half>, refine<BFloat16>, refine<float>, refine<double>},
      {refine_rows<Half>, refine_rows<BFloat16>, refine_rows<float>, refine_rows<double>},
      {to_floats<Half>, to_floats<BFloat16>, to_floats<float>, nullptr},
      {estimate_rows<Half>, estimate_rows<BFloat16>, estimate_rows<float>, nullptr},
      find_cutoff,
      keep_from,
      keep_between,
      keep_related,
      find_ranks,
      kMostRanked,
      largest_norm,
      draw_words,
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
      {largest_magnitude<Half, uint16_t>, largest_magnitude<BFloat16, uint16_t>,
       largest_magnitude<float, uint32_t>, largest_magnitude<double, uint64_t>},
      fence_streams,
  };
}

}  // namespace
}  // namespace expansive
