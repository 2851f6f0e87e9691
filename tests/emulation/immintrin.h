// The AVX-512 that the kernels use, lane by lane in plain C++, for processors without it: found
// before the compiler's own header, it stands in for the instructions that have a `_mm512_` name.
// Written from Intel's description of each (Intrinsics Guide); what AVX2 has is the processor's.
#pragma once

#include_next <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulated {

using I32 = int32_t __attribute__((vector_size(64)));
using U64 = uint64_t __attribute__((vector_size(64)));
using U32 = uint32_t __attribute__((vector_size(64)));
using Bits16 = uint16_t __attribute__((vector_size(64)));
using Signed16 = int16_t __attribute__((vector_size(64)));
using Bytes = uint8_t __attribute__((vector_size(64)));
using SignedBytes = int8_t __attribute__((vector_size(64)));
using Mask = uint16_t;

template <typename To, typename From>
inline To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
template <typename V>
inline V load(const void* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <typename V>
inline void store(void* p, const V& v) {
  std::memcpy(p, &v, sizeof v);
}
// Half of a register: the first lanes, or the last.
template <typename Half, typename V>
inline Half half(const V& v, int which) {
  return load<Half>(reinterpret_cast<const char*>(&v) + which * static_cast<int>(sizeof(Half)));
}
template <typename V, typename Half>
inline V join(const Half& low, const Half& high) {
  V v;
  std::memcpy(&v, &low, sizeof low);
  std::memcpy(reinterpret_cast<char*>(&v) + sizeof low, &high, sizeof high);
  return v;
}
// Each half by an instruction of AVX2, on halves of the operands.
#define EMULATE(name, Out, Half, instruction)                                               \
  template <typename... In>                                                                 \
  inline Out name(const In&... in) {                                                        \
    return join<Out>(instruction(half<Half>(in, 0)...), instruction(half<Half>(in, 1)...)); \
  }
EMULATE(fmadd_ps, __m512, __m256, _mm256_fmadd_ps)
EMULATE(fmadd_pd, __m512d, __m256d, _mm256_fmadd_pd)
EMULATE(max_ps, __m512, __m256, _mm256_max_ps)
EMULATE(max_pd, __m512d, __m256d, _mm256_max_pd)
EMULATE(min_ps, __m512, __m256, _mm256_min_ps)
EMULATE(min_pd, __m512d, __m256d, _mm256_min_pd)
EMULATE(cvtps_pd, __m512d, __m128, _mm256_cvtps_pd)
EMULATE(cvtpd_ps, __m256, __m256d, _mm256_cvtpd_ps)
EMULATE(cvtpd_epi32, __m256i, __m256d, _mm256_cvtpd_epi32)
EMULATE(cvtepi32_pd, __m512d, __m128i, _mm256_cvtepi32_pd)
EMULATE(cvtepi32_ps, __m512, __m256i, _mm256_cvtepi32_ps)
EMULATE(cvtps_epi32, __m512i, __m256, _mm256_cvtps_epi32)
EMULATE(cvtph_ps, __m512, __m128i, _mm256_cvtph_ps)
EMULATE(cvtepu16_epi32, __m512i, __m128i, _mm256_cvtepu16_epi32)
#undef EMULATE

inline __m512 set1_ps(float v) { return v - __m512{}; }
inline __m512d set1_pd(double v) { return v - __m512d{}; }
inline __m512i set1_epi32(int v) { return bits<__m512i>(v - I32{}); }
inline __m512i set1_epi64(long long v) { return v - __m512i{}; }
inline __m512i setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j,
                          int k, int l, int m, int n, int o, int p) {
  return bits<__m512i>(I32{a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p});
}
inline __m256i cvtps_ph(__m512 v, int) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return join<__m256i>(_mm256_cvtps_ph(half<__m256>(v, 0), kNearest),
                       _mm256_cvtps_ph(half<__m256>(v, 1), kNearest));
}
inline __m256i cvtepi32_epi16(__m512i v) {
  uint16_t lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = static_cast<uint16_t>(bits<U32>(v)[i]);
  return load<__m256i>(lanes);
}
inline __m256i cvtepi64_epi32(__m512i v) {
  uint32_t lanes[8];
  for (int i = 0; i < 8; ++i) lanes[i] = static_cast<uint32_t>(bits<U64>(v)[i]);
  return load<__m256i>(lanes);
}
inline __m512i mul_epu32(__m512i a, __m512i b) {
  return bits<__m512i>((bits<U64>(a) & 0xFFFFFFFFu) * (bits<U64>(b) & 0xFFFFFFFFu));
}
// The low bits of eight numbers.
template <typename T>
inline __m128i narrow(__m256i v) {
  uint32_t wide[8];
  std::memcpy(wide, &v, sizeof wide);
  T lanes[16 / sizeof(T)] = {};
  for (int i = 0; i < 8; ++i) lanes[i] = static_cast<T>(wide[i]);
  return load<__m128i>(lanes);
}
inline I32 larger(I32 a, I32 b) { return a > b ? a : b; }
inline Mask cmp_ps_mask(__m512 a, __m512 b, int) {
  Mask mask = 0;
  for (int i = 0; i < 16; ++i) mask = static_cast<Mask>(mask | (a[i] >= b[i] ? 1 << i : 0));
  return mask;
}
inline Mask cmpgt_epi32_mask(__m512i a, __m512i b) {
  Mask mask = 0;
  for (int i = 0; i < 16; ++i) {
    mask = static_cast<Mask>(mask | (bits<I32>(a)[i] > bits<I32>(b)[i] ? 1 << i : 0));
  }
  return mask;
}
inline Mask cmplt_epu32_mask(__m512i a, __m512i b) {
  Mask mask = 0;
  for (int i = 0; i < 16; ++i) {
    mask = static_cast<Mask>(mask | (bits<U32>(a)[i] < bits<U32>(b)[i] ? 1 << i : 0));
  }
  return mask;
}
inline __m512i maskz_loadu_epi32(Mask mask, const void* p) {
  uint32_t lanes[16] = {};
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1) != 0) std::memcpy(lanes + i, static_cast<const char*>(p) + 4 * i, 4);
  }
  return load<__m512i>(lanes);
}
inline int reduce_add_epi32(__m512i v) {
  uint32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += bits<U32>(v)[i];
  return static_cast<int>(sum);
}
template <typename V, typename Lanes>
inline V compress(Mask mask, V v) {
  const Lanes from = bits<Lanes>(v);
  Lanes to = {};
  for (int i = 0, n = 0; i < 16; ++i) {
    if ((mask >> i & 1) != 0) to[n++] = from[i];
  }
  return bits<V>(to);
}
// Subnormal numbers are zero to the instructions of bfloat16, before and after.
inline float flushed(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }
inline float of_bfloat16(uint16_t v) {
  return flushed(bits<float>(static_cast<uint32_t>(v) << 16));
}

inline __m128i cvtneps_pbh(__m256 v) {
  uint16_t lanes[8];
  for (int i = 0; i < 8; ++i) {
    const uint32_t exact = bits<uint32_t>(flushed(v[i]));
    lanes[i] = static_cast<uint16_t>((exact + 0x7FFF + (exact >> 16 & 1)) >> 16);
  }
  return load<__m128i>(lanes);
}
// The odd elements are added first; each addition is fused with its product.
inline __m512 dpbf16_ps(__m512 sum, const __m512i& a, const __m512i& b) {
  const Bits16 x = bits<Bits16>(a), y = bits<Bits16>(b);
  for (int i = 0; i < 16; ++i) {
    for (int j = 2 * i + 1; j >= 2 * i; --j) {
      sum[i] = flushed(std::fma(of_bfloat16(x[j]), of_bfloat16(y[j]), flushed(sum[i])));
    }
  }
  return sum;
}

}  // namespace emulated

#define __mmask16 emulated::Mask
#define __m128bh __m128i
#define __m512bh __m512i
#define _mm256_cvtepi32_epi16 emulated::narrow<uint16_t>
#define _mm256_cvtepi32_epi8 emulated::narrow<uint8_t>
#define _mm256_cvtneps_pbh emulated::cvtneps_pbh
#define _mm512_add_epi32(a, b) \
  emulated::bits<__m512i>(emulated::bits<emulated::U32>(a) + emulated::bits<emulated::U32>(b))
#define _mm512_add_pd(a, b) ((a) + (b))
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_and_si512(a, b) ((a) & (b))
#define _mm512_castpd512_pd256(v) emulated::half<__m256d>(v, 0)
#define _mm512_castps512_ps256(v) emulated::half<__m256>(v, 0)
#define _mm512_castsi512_si256(v) emulated::half<__m256i>(v, 0)
#define _mm512_castps_si512(v) emulated::bits<__m512i>(v)
#define _mm512_castsi512_ps(v) emulated::bits<__m512>(v)
#define _mm512_cmp_ps_mask emulated::cmp_ps_mask
#define _mm512_cmpgt_epi32_mask emulated::cmpgt_epi32_mask
#define _mm512_cmplt_epu32_mask emulated::cmplt_epu32_mask
#define _mm512_cvtepi32_epi16 emulated::cvtepi32_epi16
#define _mm512_cvtepi32_pd emulated::cvtepi32_pd
#define _mm512_cvtepi32_ps emulated::cvtepi32_ps
#define _mm512_cvtepi64_epi32 emulated::cvtepi64_epi32
#define _mm512_cvtepu16_epi32 emulated::cvtepu16_epi32
#define _mm512_cvtpd_epi32 emulated::cvtpd_epi32
#define _mm512_cvtpd_ps emulated::cvtpd_ps
#define _mm512_cvtph_ps emulated::cvtph_ps
#define _mm512_cvtps_epi32 emulated::cvtps_epi32
#define _mm512_cvtps_pd emulated::cvtps_pd
#define _mm512_cvtps_ph emulated::cvtps_ph
#define _mm512_dpbf16_ps emulated::dpbf16_ps
#define _mm512_extractf32x8_ps(v, which) emulated::half<__m256>(v, which)
#define _mm512_extractf64x4_pd(v, which) emulated::half<__m256d>(v, which)
#define _mm512_extracti64x4_epi64(v, which) emulated::half<__m256i>(v, which)
#define _mm512_fmadd_pd emulated::fmadd_pd
#define _mm512_fmadd_ps emulated::fmadd_ps
#define _mm512_loadu_pd emulated::load<__m512d>
#define _mm512_loadu_ps emulated::load<__m512>
#define _mm512_loadu_si512 emulated::load<__m512i>
#define _mm512_maskz_compress_epi32 emulated::compress<__m512i, emulated::U32>
#define _mm512_maskz_compress_ps emulated::compress<__m512, emulated::U32>
#define _mm512_maskz_loadu_epi32 emulated::maskz_loadu_epi32
#define _mm512_max_epi32(a, b) \
  emulated::bits<__m512i>(     \
      emulated::larger(emulated::bits<emulated::I32>(a), emulated::bits<emulated::I32>(b)))
#define _mm512_max_pd emulated::max_pd
#define _mm512_max_ps emulated::max_ps
#define _mm512_min_pd emulated::min_pd
#define _mm512_min_ps emulated::min_ps
#define _mm512_mul_epu32 emulated::mul_epu32
#define _mm512_mul_pd(a, b) ((a) * (b))
#define _mm512_reduce_add_epi32 emulated::reduce_add_epi32
#define _mm512_set1_epi8(v) emulated::bits<__m512i>((v) - emulated::SignedBytes{})
#define _mm512_set1_epi32 emulated::set1_epi32
#define _mm512_set1_epi64 emulated::set1_epi64
#define _mm512_set1_pd emulated::set1_pd
#define _mm512_set1_ps emulated::set1_ps
#undef _mm512_setr_epi32
#define _mm512_setr_epi32 emulated::setr_epi32
#define _mm512_setzero_pd() \
  __m512d {}
#define _mm512_setzero_ps() \
  __m512 {}
#define _mm512_setzero_si512() \
  __m512i {}
#define _mm512_slli_epi32(v, n) emulated::bits<__m512i>(emulated::bits<emulated::U32>(v) << (n))
#define _mm512_srli_epi32(v, n) emulated::bits<__m512i>(emulated::bits<emulated::U32>(v) >> (n))
#define _mm512_srli_epi64(v, n) emulated::bits<__m512i>(emulated::bits<emulated::U64>(v) >> (n))
#define _mm512_storeu_pd emulated::store
#define _mm512_storeu_ps emulated::store
#define _mm512_storeu_si512 emulated::store
#define _mm512_stream_ps emulated::store
#define _mm512_sub_epi32(a, b) \
  emulated::bits<__m512i>(emulated::bits<emulated::U32>(a) - emulated::bits<emulated::U32>(b))
#define _mm512_sub_pd(a, b) ((a) - (b))
#define _mm512_sub_ps(a, b) ((a) - (b))
#define _mm512_xor_si512(a, b) ((a) ^ (b))
