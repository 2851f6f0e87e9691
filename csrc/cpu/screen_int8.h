// The screen by bytes, for data whose neighbours are not so near that bytes cannot tell them apart:
// the loops of screen.h over numbers of 8 bits, which come in runs (elements.h).
//
// Sums of a run stay in registers; where there are several runs, whose sums have 16 bits, they are
// added after each to those of 32 bits, in memory. Cost: as many multiply-adds as in screen.h, four
// elements each, and for every run one more of each sum. Out of scope: for which data this pays
// (roughness.cpp).
#pragma once

#include "cpu/refine.h"
#include "cpu/screen.h"

namespace expansive {
namespace {

constexpr int64_t kRunWords = kBytes.words_per_run;
constexpr bool kHasRuns = features_per_run(kBytes) < kBytes.most_features;

// The least whole number that reaches a threshold, less one.
inline int32_t below_threshold(float threshold) {
  constexpr float kEnd = 0x1p31f;
  if (!(threshold < kEnd)) return INT32_MAX;
  if (!(threshold > -kEnd)) return INT32_MIN;  // only columns that pad a panel do not reach it
  return static_cast<int32_t>(__builtin_ceilf(threshold)) - 1;
}

// Whether some query of the tile has a sum above its number.
template <int kTileQueries, int kVectors>
inline bool any_above(const Sum (&sum)[kTileQueries][kVectors], const int32_t* numbers) {
  const auto above = [&](int q) {
    Sum best = sum[q][0];
    for (int v = 1; v < kVectors; ++v) best = larger(best, sum[q][v]);
    return lanes_above(best, numbers[q]);
  };
  auto lanes = above(0);
  for (int q = 1; q < kTileQueries; ++q) lanes = either(lanes, above(q));
  return any_lane(lanes);
}

// The products of a run of words, and where the next begins.
template <int kTileQueries, int kVectors>
[[gnu::always_inline]] inline void multiply_run(const uint32_t*& query, const uint32_t*& columns,
                                                int64_t words,
                                                RunSum (&run)[kTileQueries][kVectors]) {
  constexpr int kColumns = kVectors * Vector::kWidth;
  for (int v = 0; v < kVectors; ++v) {
    const RunSum start = start_run(load_column(columns + v * Vector::kWidth));
    for (int q = 0; q < kTileQueries; ++q) run[q][v] = start;
  }
  columns += kColumns;
  query += kTileQueries;
  for (int64_t j = 0; j < words; ++j, columns += kColumns, query += kTileQueries) {
    Column column[kVectors];
    for (int v = 0; v < kVectors; ++v) column[v] = load_column(columns + v * Vector::kWidth);
    for (int q = 0; q < kTileQueries; ++q) {
      for (int v = 0; v < kVectors; ++v) run[q][v] = multiply_add(query[q], column[v], run[q][v]);
    }
  }
}

template <int kTileQueries, int kVectors>
int64_t screen_int8(const ScreenTask& task) {
  constexpr int kColumns = kVectors * Vector::kWidth;
  int32_t below[kTileQueries];
  for (int q = 0; q < kTileQueries; ++q) below[q] = below_threshold(task.thresholds[q]);
  Sum stored[kTileQueries * kVectors];
  for (int64_t panel = task.first_panel; panel < task.end_panel; ++panel) {
    const uint32_t* columns = task.panels + panel * task.words * kColumns;
    const uint32_t* query = task.queries;
    const float* negated = task.negated_half_norms + panel * kColumns;
    RunSum run[kTileQueries][kVectors];
    Sum sum[kTileQueries][kVectors];
    if (!kHasRuns || task.words <= kRunWords + 1) {
      multiply_run(query, columns, task.words - 1, run);
      for (int v = 0; v < kVectors; ++v) {
        const Sum start = start_sum(load_vector(negated + v * Vector::kWidth));
        for (int q = 0; q < kTileQueries; ++q) sum[q][v] = add_run(run[q][v], start);
      }
    } else {
      // The compiler would keep some of these in registers, and find too few for a run's sums.
      Sum* sums = stored;
      asm volatile("" : "+r"(sums) : : "memory");
      for (int v = 0; v < kVectors; ++v) {
        const Sum start = start_sum(load_vector(negated + v * Vector::kWidth));
        for (int q = 0; q < kTileQueries; ++q) sums[q * kVectors + v] = start;
      }
      for (int64_t left = task.words; left > 0; left -= kRunWords + 1) {
        multiply_run(query, columns, left <= kRunWords ? left - 1 : kRunWords, run);
        for (int q = 0; q < kTileQueries; ++q) {
          for (int v = 0; v < kVectors; ++v) {
            sums[q * kVectors + v] = add_run(run[q][v], sums[q * kVectors + v]);
          }
        }
      }
      for (int q = 0; q < kTileQueries; ++q) {
        for (int v = 0; v < kVectors; ++v) sum[q][v] = sums[q * kVectors + v];
      }
    }
    if (!any_above<kTileQueries, kVectors>(sum, below)) continue;
    for (int q = 0; q < kTileQueries; ++q) {
      for (int v = 0; v < kVectors; ++v) stored[q * kVectors + v] = sum[q][v];
    }
    const uint32_t queries = queries_near<kTileQueries, kVectors>(task, stored);
    if (collect<kTileQueries, kVectors>(task, panel, stored, queries)) return panel + 1;
  }
  return task.end_panel;
}

// Writes what each run starts with; false if the image is beyond what rows are drawn into.
inline bool finish_runs(uint32_t* image, int64_t elements) {
  bool fits = true;
  for (int64_t words = (elements + 3) / 4; words > 0; words -= kRunWords, image += kRunWords + 1) {
    image[0] = start_word(image + 1, words < kRunWords ? words : kRunWords, fits);
  }
  return fits;
}

template <typename T>
ImageSums prepare_int8(const void* row, double row_scale, const double* centre, double scale,
                       int64_t d, uint32_t* image) {
  ImageSums sums = place<T>(row, row_scale, centre, scale, d, [image](int64_t j, Double8 exact) {
    return store_byte_image(image + word_of(kBytes, j), exact);
  });
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
