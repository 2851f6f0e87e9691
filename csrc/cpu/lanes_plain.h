// Lanes in plain C++, all but those of the screen: the compiler vectorises what it can.
#pragma once

#include <cmath>
#include <cstdint>

#include "cpu/elements.h"
#include "cpu/half.h"

namespace expansive {
namespace {

// Eight float64: the partial sums of a distance.
struct Double8 {
  double lane[8];
};

template <typename T>
inline Double8 load8(const T* p) {
  Double8 r;
  for (int i = 0; i < 8; ++i) r.lane[i] = to_double(p[i]);
  return r;
}
inline Double8 splat8(double v) { return {{v, v, v, v, v, v, v, v}}; }
inline Double8 sub(Double8 a, Double8 b) {
  for (int i = 0; i < 8; ++i) a.lane[i] -= b.lane[i];
  return a;
}
inline Double8 mul(Double8 a, Double8 b) {
  for (int i = 0; i < 8; ++i) a.lane[i] *= b.lane[i];
  return a;
}
inline Double8 fma(Double8 a, Double8 b, Double8 c) {
  for (int i = 0; i < 8; ++i) c.lane[i] = std::fma(a.lane[i], b.lane[i], c.lane[i]);
  return c;
}
// What is outside goes to the nearest of -most and most.
inline Double8 within8(Double8 v, double most) {
  for (int i = 0; i < 8; ++i) {
    v.lane[i] = v.lane[i] < -most ? -most : (v.lane[i] > most ? most : v.lane[i]);
  }
  return v;
}
inline void store8(double* p, Double8 v) {
  for (int i = 0; i < 8; ++i) p[i] = v.lane[i];
}
// Eight partial sums as one: halves, quarters, then the pair.
inline double fold(Double8 sums) {
  for (int i = 0; i < 4; ++i) sums.lane[i] += sums.lane[i + 4];
  for (int i = 0; i < 2; ++i) sums.lane[i] += sums.lane[i + 2];
  return sums.lane[0] + sums.lane[1];
}
// Rounds eight numbers to whole ones of 0 to 255 (what is outside goes to the nearest), stores them
// and returns them.
inline Double8 store8_bytes(uint8_t* p, Double8 v) {
  for (int i = 0; i < 8; ++i) {
    const double inside = v.lane[i] < 0.0 ? 0.0 : (v.lane[i] > 255.0 ? 255.0 : v.lane[i]);
    p[i] = static_cast<uint8_t>(static_cast<int>(inside + 0.5));
    v.lane[i] = static_cast<double>(p[i]);
  }
  return v;
}

// Eight float32: interpolation and estimates.
constexpr int64_t kFloats = 8;

struct Floats {
  float lane[8];
};

template <typename T>
inline Floats load_floats(const T* p) {
  Floats r;
  for (int i = 0; i < 8; ++i) r.lane[i] = to_float(p[i]);
  return r;
}
inline Floats lerp(Floats base, Floats partner, float weight) {
  for (int i = 0; i < 8; ++i) {
    base.lane[i] = std::fma(weight, partner.lane[i] - base.lane[i], base.lane[i]);
  }
  return base;
}
inline Floats zero_floats() { return {}; }
inline Floats add(Floats a, Floats b) {
  for (int i = 0; i < 8; ++i) a.lane[i] += b.lane[i];
  return a;
}
inline Floats add_squared_difference(Floats a, Floats b, Floats sum) {
  for (int i = 0; i < 8; ++i) {
    const float difference = a.lane[i] - b.lane[i];
    sum.lane[i] += difference * difference;
  }
  return sum;
}
inline float sum_of(Floats v) {
  float sum = 0.0f;
  for (int i = 0; i < 8; ++i) sum += v.lane[i];
  return sum;
}
template <bool, typename T>  // no streaming stores
inline void store_floats(T* p, Floats v) {
  for (int i = 0; i < 8; ++i) from_float(v.lane[i], p + i);
}
inline void fence_streams() {}

// Random words, each in the low half of 64 bits: products are all of those.
struct WordLanes {
  static constexpr int kWidth = 1;
  uint64_t lane;
};

inline WordLanes load_words(const int64_t* p) { return {static_cast<uint64_t>(*p)}; }
inline WordLanes splat_words(uint32_t word) { return {word}; }
inline WordLanes multiply_words(WordLanes a, WordLanes b) {
  return {uint64_t{static_cast<uint32_t>(a.lane)} * static_cast<uint32_t>(b.lane)};
}
inline WordLanes high_words(WordLanes v) { return {v.lane >> 32}; }
inline WordLanes exclusive_or(WordLanes a, WordLanes b) { return {a.lane ^ b.lane}; }
inline void store_words(uint32_t* p, WordLanes v) { *p = static_cast<uint32_t>(v.lane); }

}  // namespace
}  // namespace expansive
