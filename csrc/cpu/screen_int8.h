// The screen by bytes, for data whose neighbours are not so near that bytes cannot tell them apart:
// the loops of screen.h over numbers of 8 bits, which come in runs (elements.h).
//
// Sums of a run stay in registers; where they have 16 bits, and there are several runs, they are
// added after each to those of 32 bits, in memory. Cost: as many multiply-adds as in screen.h, four
// elements each, and for every run one more of each sum. Out of scope: for which data this pays
// (roughness.cpp).
#pragma once

#include <type_traits>

#include "cpu/refine.h"
#include "cpu/screen.h"

namespace expansive {
namespace {

constexpr int64_t kRunWords = kBytes.words_per_run;
constexpr bool kMayHaveRuns = features_per_run(kBytes) < kBytes.most_features;

// The compiler would keep some of these in registers, and find too few for a run's sums.
inline void stay_in_memory(Sum* sums) { asm volatile("" : : "r"(sums) : "memory"); }

// The products of a run, and where the next begins.
template <int kTileQueries, int kVectors>
[[gnu::always_inline]] inline void multiply_run(const uint32_t*& query, const uint32_t*& columns,
                                                int64_t words, const float* negated_half_norms,
                                                RunSum (&run)[kTileQueries][kVectors]) {
  for (int v = 0; v < kVectors; ++v) {
    start_at(start_run(load_column(columns + v * Vector::kWidth), start_of(negated_half_norms, v)),
             v, run);
  }
  columns += kVectors * Vector::kWidth;
  query += kTileQueries;
  multiply_words(query, columns, words - 1, run);
}

template <int kTileQueries, int kVectors>
[[gnu::always_inline]] inline void sum_run(const uint32_t* query, const uint32_t* columns,
                                           int64_t words, const float* negated_half_norms,
                                           Sum (&sum)[kTileQueries][kVectors]) {
  RunSum run[kTileQueries][kVectors];
  multiply_run(query, columns, words, negated_half_norms, run);
  for (int q = 0; q < kTileQueries; ++q) {
    for (int v = 0; v < kVectors; ++v)
      sum[q][v] = end_run(run[q][v], start_of(negated_half_norms, v));
  }
}

template <int kTileQueries, int kVectors>
[[gnu::always_inline]] inline void sum_runs(const uint32_t* query, const uint32_t* columns,
                                            int64_t words, const float* negated_half_norms,
                                            Sum (&sum)[kTileQueries][kVectors]) {
  Sum sums[kTileQueries * kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const Sum start = start_of(negated_half_norms, v);
    for (int q = 0; q < kTileQueries; ++q) sums[q * kVectors + v] = start;
  }
  for (int64_t left = words; left > 0; left -= kRunWords + 1) {
    stay_in_memory(sums);
    RunSum run[kTileQueries][kVectors];
    multiply_run(query, columns, left <= kRunWords ? left : kRunWords + 1, negated_half_norms, run);
    for (int q = 0; q < kTileQueries; ++q) {
      for (int v = 0; v < kVectors; ++v) {
        sums[q * kVectors + v] = end_run(run[q][v], sums[q * kVectors + v]);
      }
    }
  }
  stay_in_memory(sums);
  for (int q = 0; q < kTileQueries; ++q) {
    for (int v = 0; v < kVectors; ++v) sum[q][v] = sums[q * kVectors + v];
  }
}

template <int kTileQueries, int kVectors>
int64_t screen_int8(const ScreenTask& task) {
  using Sums = Sum[kTileQueries][kVectors];
  if (kMayHaveRuns && task.words > kRunWords + 1) {
    return screen_panels<kTileQueries, kVectors>(
        task, [&](const uint32_t* query, const uint32_t* columns, const float* negated_half_norms,
                  Sums& sum) { sum_runs(query, columns, task.words, negated_half_norms, sum); });
  }
  return screen_panels<kTileQueries, kVectors>(
      task, [&](const uint32_t* query, const uint32_t* columns, const float* negated_half_norms,
                Sums& sum) { sum_run(query, columns, task.words, negated_half_norms, sum); });
}

// Writes what each run starts with; false if the image is beyond what rows are drawn into.
inline bool finish_runs(uint32_t* image, int64_t elements) {
  bool fits = true;
  for (int64_t words = (elements + 3) / 4; words > 0; words -= kRunWords, image += kRunWords + 1) {
    image[0] = start_word(image + 1, words < kRunWords ? words : kRunWords, fits);
  }
  return fits;
}

// Where there are lanes, images.cpp draws rows in.
struct WithinBytes {
  Double8 operator()(Double8 given) const { return within8(given, kBytes.most_byte); }
};
using Within = std::conditional_t<has_lanes(kBytes), Anywhere, WithinBytes>;

template <typename T>
ImageSums prepare_int8(const void* row, double row_scale, const double* centre, double scale,
                       int64_t d, uint32_t* image) {
  const auto store = [image](int64_t j, Double8 exact) {
    return store_byte_image(image + word_of(kBytes, j), exact);
  };
  ImageSums sums = place<T>(row, row_scale, centre, scale, d, store, Within{});
  sums.fits = finish_runs(image, d);
  return sums;
}

// The same kernels with the screen by bytes; rows that are rotated keep the finer one.
template <int kTileQueries, int kVectors>
constexpr Kernels by_bytes(const char* name, const Kernels& finer) {
  Kernels kernels = make_kernels<kTileQueries, kVectors>(name);
  kernels.elements = kBytes;
  kernels.screen = screen_int8<kTileQueries, kVectors>;
  kernels.prepare[static_cast<int>(DType::float16)] = prepare_int8<Half>;
  kernels.prepare[static_cast<int>(DType::bfloat16)] = prepare_int8<BFloat16>;
  kernels.prepare[static_cast<int>(DType::float32)] = prepare_int8<float>;
  kernels.prepare[static_cast<int>(DType::float64)] = prepare_int8<double>;
  kernels.finer = &finer;
  return kernels;
}

}  // namespace
}  // namespace expansive
