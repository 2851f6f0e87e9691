// Rows as the screen sees them: moved to a common centre, scaled by a power of two and rounded to
// bfloat16, with the norms and the measured rounding that the bounds need (docs/exactness.md).
//
// Fused: gathering in class order, widening, moving, rounding, both sums; one warp a row. Cost: one
// read and one write of the rows, bound by memory. Rotation and cut are the CPU's alone so far.
#include "cuda/bounds.h"
#include "cuda/device_code.cuh"
#include "cuda/fragments.h"
#include "cuda/kernels.h"
#include "cuda/tiles.h"

namespace expansive::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kSampledRows = 255;

// A RowList with its element type.
template <typename T>
struct TypedList {
  const T* x;
  const uint32_t* order;
  int64_t first;
  int64_t count;
  int64_t d;

  __device__ const T* row(int64_t i) const {
    const int64_t position = first + i;
    return x + (order == nullptr ? position : static_cast<int64_t>(order[position])) * d;
  }
};

template <typename T>
TypedList<T> typed(const RowList& list) {
  return {static_cast<const T*>(list.rows.data), list.order, list.first, list.count, list.rows.d};
}

// The median of each coordinate over some rows: a thread block a coordinate, a thread a row, which
// counts the values before its own.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    centre_kernel(TypedList<T> list, const double* row_scales, double* centre) {
  __shared__ double values[kSampledRows];
  const int64_t j = blockIdx.x;
  const int sampled = static_cast<int>(list.count < kSampledRows ? list.count : kSampledRows);
  const int me = static_cast<int>(threadIdx.x);
  if (me < sampled) {
    const int64_t picked = me * list.count / sampled;
    values[me] =
        to_double(list.row(picked)[j]) * (row_scales == nullptr ? 1.0 : row_scales[picked]);
  }
  __syncthreads();
  if (me >= sampled) return;
  int before = 0;
  for (int i = 0; i < sampled; ++i) {
    before += values[i] < values[me] || (values[i] == values[me] && i < me) ? 1 : 0;
  }
  if (before == sampled / 2) centre[j] = values[me];
}

// Reciprocal norms; the squares are summed in the order of a distance, by eight lanes a row.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    row_scales_kernel(TypedList<T> list, double* row_scales) {
  const int64_t i = global_thread() / 8;
  const int lane = static_cast<int>(threadIdx.x % 8);
  double sum = 0.0;
  if (i < list.count) {
    const T* row = list.row(i);
    for (int64_t j = lane; j < list.d; j += 8) {
      const double value = to_double(row[j]);
      sum = __fma_rn(value, value, sum);
    }
  }
  sum = fold_lanes(sum);
  if (i < list.count && lane == 0) row_scales[i] = 1.0 / sqrt(sum);
}

struct ImageSums {
  double squared_norm;
  double squared_error;
};

// The i-th of all images.
struct ImageAt {
  uint16_t* images;
  int64_t i;
  int64_t padded;

  __device__ uint16_t& operator[](int64_t feature) const {
    return images[image_place(i, feature, padded)];
  }
  __device__ void clear() const {
    for (int64_t j = threadIdx.x % 32; j < padded; j += 32) (*this)[j] = 0;
  }
};

// Writes a row's image, padded with zeros, and, if `wide` is not null, the row in float64.
template <typename T>
__device__ ImageSums make_image(const T* row, double row_scale, const Space& space, int64_t d,
                                const ImageAt& image, double* wide) {
  double norm = 0.0, error = 0.0;
  for (int64_t j = threadIdx.x % 32; j < image.padded; j += 32) {
    BFloat16 rounded{0};
    if (j < d) {
      const double value = to_double(row[j]) * row_scale;
      if (wide != nullptr) wide[j] = value;
      const double exact = (value - space.centre[j]) * space.scale;
      from_double(exact, &rounded);
      if (fabsf(to_float(rounded)) < kLeastCoordinate) rounded.bits = 0;
      const double coordinate = to_double(rounded), difference = coordinate - exact;
      norm = __fma_rn(coordinate, coordinate, norm);
      error = __fma_rn(difference, difference, error);
    }
    image[j] = rounded.bits;
  }
  return {sum_lanes(norm), sum_lanes(error)};
}

// The bounds of an image. One too long for the screen becomes the origin with a boundless error.
struct Image {
  double squared_norm;
  double error;
};
__device__ Image settle_image(ImageSums sums, const ImageAt& image) {
  if (sums.squared_norm <= kLongestImage) {
    return {sums.squared_norm, image_error(sums.squared_norm, sums.squared_error)};
  }
  image.clear();  // by the lanes that wrote it
  return {0.0, INFINITY};
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    database_images_kernel(TypedList<T> list, Space space, DatabaseImages out, int64_t padded_rows,
                           int64_t padded, int rows_per_tile) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (i >= padded_rows) return;
  const ImageAt image{out.images, i, padded};
  const bool leads = threadIdx.x % 32 == 0;
  if (i >= list.count) {
    image.clear();
    if (leads) out.negated_half_norms[i] = -INFINITY;
    return;
  }
  const double row_scale = space.row_scales == nullptr ? 1.0 : space.row_scales[i];
  const ImageSums sums = make_image(list.row(i), row_scale, space, list.d, image, nullptr);
  const Image bounds = settle_image(sums, image);
  if (!leads) return;
  out.negated_half_norms[i] = -half_norm(bounds.squared_norm, screen_gamma(padded));
  unsigned long long error;  // orders like its bits: it is not negative
  memcpy(&error, &bounds.error, sizeof error);
  auto* const errors = reinterpret_cast<unsigned long long*>(out.tile_errors);
  auto* const largest = errors + divide_up(list.count, rows_per_tile);
  atomicMax(errors + i / rows_per_tile, error);
  // All rows share it: few have to wait for it who look first.
  if (error > *static_cast<const volatile unsigned long long*>(largest)) atomicMax(largest, error);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    query_images_kernel(TypedList<T> list, Space space, QueryImages out, int64_t padded_rows,
                        int64_t padded) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (i >= padded_rows) return;
  const ImageAt image{out.images, i, padded};
  if (i >= list.count) return image.clear();
  const double row_scale = space.row_scales == nullptr ? 1.0 : space.row_scales[i];
  const ImageSums sums =
      make_image(list.row(i), row_scale, space, list.d, image, out.wide + i * list.d);
  const Image bounds = settle_image(sums, image);
  if (threadIdx.x % 32 != 0) return;
  out.norms[i] = query_norm(bounds.squared_norm, screen_gamma(padded), padded);
  out.errors[i] = bounds.error;
}

}  // namespace

void find_centre(const RowList& list, const double* row_scales, double* centre,
                 cudaStream_t stream) {
  with_type(list.rows.dtype, [&](auto element) {
    centre_kernel<<<blocks_for(list.rows.d, 1), kThreads, 0, stream>>>(
        typed<decltype(element)>(list), row_scales, centre);
  });
  check_launch("find_centre");
}

void find_row_scales(const RowList& list, double* row_scales, cudaStream_t stream) {
  with_type(list.rows.dtype, [&](auto element) {
    row_scales_kernel<<<blocks_for(list.count, kThreads / 8), kThreads, 0, stream>>>(
        typed<decltype(element)>(list), row_scales);
  });
  check_launch("find_row_scales");
}

void make_images(const RowList& list, const Space& space, const DatabaseImages& out,
                 cudaStream_t stream) {
  const int64_t padded_rows = round_up(list.count, kWideBlockRows);
  const int64_t tiles = divide_up(list.count, tile_rows(list.rows.d));
  check_cuda(
      cudaMemsetAsync(out.tile_errors, 0, static_cast<size_t>(tiles + 1) * sizeof(double), stream),
      "clearing the tiles' errors");
  with_type(list.rows.dtype, [&](auto element) {
    database_images_kernel<<<blocks_for(padded_rows, kWarps), kThreads, 0, stream>>>(
        typed<decltype(element)>(list), space, out, padded_rows, padded_features(list.rows.d),
        tile_rows(list.rows.d));
  });
  check_launch("make_images");
}

void make_images(const RowList& list, const Space& space, const QueryImages& out,
                 cudaStream_t stream) {
  const int64_t padded_rows = round_up(list.count, kBlockQueries);
  with_type(list.rows.dtype, [&](auto element) {
    query_images_kernel<<<blocks_for(padded_rows, kWarps), kThreads, 0, stream>>>(
        typed<decltype(element)>(list), space, out, padded_rows, padded_features(list.rows.d));
  });
  check_launch("make_images");
}

}  // namespace expansive::cuda
