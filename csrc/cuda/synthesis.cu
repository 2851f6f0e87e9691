// Synthetic rows on the device: draw by counter, gather two rows, interpolate, round, store.
//
// Fused: all of it, and the labels. A few lanes share a row, as many as it has vectors of 16 bytes
// but at most a warp; each draws the row for itself, which is cheaper than handing it around. Cost:
// two reads and one write of d elements a row, bound by memory. Contraction is off for this file
// and fused multiply-adds are written out, so the bits are the CPU's.
#include "cuda/device_code.cuh"
#include "cuda/synthesis.h"
#include "expansive/check.h"

namespace expansive::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T, int kElements>
struct alignas(sizeof(T) * kElements) Vector {
  T element[kElements];
};

template <typename In, typename Out>
__device__ void interpolate(float weight, In base, In partner, Out* out) {
  const float start = to_float(base);
  from_float(__fmaf_rn(weight, __fsub_rn(to_float(partner), start), start), out);
}
template <typename Out>
__device__ void interpolate(double weight, double base, double partner, Out* out) {
  from_double(__fma_rn(weight, __dsub_rn(partner, base), base), out);
}

__device__ float weight_of(const Partners& partners, uint32_t u, float) {
  return weight_float32(partners, u);
}
__device__ double weight_of(const Partners& partners, uint32_t u, double) {
  return weight_float64(partners, u);
}

template <typename T>
struct Computed {
  using type = float;
};
template <>
struct Computed<double> {
  using type = double;
};

template <typename In, typename Out, int kElements>
__global__ void __launch_bounds__(kThreads)
    synthesize_kernel(const In* x, Partners partners, RowNumbers rows, Out* out, int64_t count,
                      int64_t d, int64_t* labels, int lanes) {
  const int64_t i = global_thread() / lanes;
  if (i >= count) return;
  const int lane = static_cast<int>(global_thread() % lanes);
  const int64_t number = rows[i];
  const Draw drawn = draw(partners, number);
  const auto weight = weight_of(partners, drawn.u, typename Computed<In>::type{});
  using Loaded = Vector<In, kElements>;
  using Stored = Vector<Out, kElements>;
  const Loaded* base = reinterpret_cast<const Loaded*>(x + drawn.base * d);
  const Loaded* partner = reinterpret_cast<const Loaded*>(x + drawn.partner * d);
  Stored* made = reinterpret_cast<Stored*>(out + i * d);
#pragma unroll 2
  for (int64_t j = lane; j < d / kElements; j += lanes) {
    const Loaded from = base[j], to = partner[j];
    Stored value;
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      interpolate(weight, from.element[e], to.element[e], &value.element[e]);
    }
    made[j] = value;
  }
  if (labels != nullptr && lane == 0) labels[i] = class_of(partners, number);
}

template <typename Weight>
__global__ void __launch_bounds__(kThreads)
    draw_kernel(Partners partners, RowNumbers rows, int64_t count, int64_t* base, int64_t* partner,
                Weight* weight) {
  const int64_t i = global_thread();
  if (i >= count) return;
  const Draw drawn = draw(partners, rows[i]);
  base[i] = drawn.base;
  partner[i] = drawn.partner;
  weight[i] = weight_of(partners, drawn.u, Weight{});
}

// Lanes for a row of so many vectors: a power of two, at most a warp.
int lanes_for(int64_t vectors) {
  int lanes = 1;
  while (lanes < 32 && lanes < vectors) lanes *= 2;
  return lanes;
}

template <typename In, typename Out, int kElements>
void launch(const Rows& x, const Partners& partners, RowNumbers rows, const MutableRows& out,
            int64_t* labels, cudaStream_t stream) {
  const int lanes = lanes_for(x.d / kElements);
  synthesize_kernel<In, Out, kElements>
      <<<blocks_for(out.n, kThreads / lanes), kThreads, 0, stream>>>(
          static_cast<const In*>(x.data), partners, rows, static_cast<Out*>(out.data), out.n, x.d,
          labels, lanes);
}

bool is_aligned(const void* pointer, int64_t d, size_t element, int elements) {
  return reinterpret_cast<uintptr_t>(pointer) % (element * static_cast<size_t>(elements)) == 0 &&
         d % elements == 0;
}

}  // namespace

void synthesize(const Rows& x, const Partners& partners, RowNumbers rows, const MutableRows& out,
                int64_t* labels, cudaStream_t stream) {
  check(x.d == out.d, "out and x differ in features");
  check(out.n < int64_t{INT32_MAX} * 8, "too many rows at a time; make a slice");
  if (out.n == 0) return;
  with_type(x.dtype, [&](auto in) {
    with_type(out.dtype, [&](auto result) {
      using In = decltype(in);
      using Out = decltype(result);
      constexpr int kElements = 16 / static_cast<int>(std::max(sizeof(In), sizeof(Out)));
      if (is_aligned(x.data, x.d, sizeof(In), kElements) &&
          is_aligned(out.data, x.d, sizeof(Out), kElements)) {
        launch<In, Out, kElements>(x, partners, rows, out, labels, stream);
      } else {
        launch<In, Out, 1>(x, partners, rows, out, labels, stream);
      }
    });
  });
  check_launch("synthesize");
}

void draw_rows(const Partners& partners, RowNumbers rows, int64_t count, int64_t* base,
               int64_t* partner, void* weight, bool wide, cudaStream_t stream) {
  if (count == 0) return;
  const unsigned blocks = blocks_for(count, kThreads);
  if (wide) {
    draw_kernel<<<blocks, kThreads, 0, stream>>>(partners, rows, count, base, partner,
                                                 static_cast<double*>(weight));
  } else {
    draw_kernel<<<blocks, kThreads, 0, stream>>>(partners, rows, count, base, partner,
                                                 static_cast<float*>(weight));
  }
  check_launch("draw_rows");
}

}  // namespace expansive::cuda
