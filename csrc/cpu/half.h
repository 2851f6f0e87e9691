// 16-bit floats to and from float32 and float64 in plain C++, rounding to nearest even.
//
// Internal linkage: this header is compiled once for each instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "expansive/host_device.h"
#include "expansive/rows.h"

namespace expansive {
namespace {

EXPANSIVE_HOST_DEVICE inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

EXPANSIVE_HOST_DEVICE inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

EXPANSIVE_HOST_DEVICE inline float to_float(float value) { return value; }
EXPANSIVE_HOST_DEVICE inline float to_float(BFloat16 value) {
  return float_of(uint32_t{value.bits} << 16);
}
EXPANSIVE_HOST_DEVICE inline float to_float(Half value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  const uint32_t magnitude = uint32_t{value.bits & 0x7FFFu} << 13;
  if (magnitude >= 0x0F800000u) return float_of(sign | 0x70000000u | magnitude);  // inf, NaN
  // A subnormal half is exact in float32: scale by 2^112 in floating point.
  return float_of(sign | bits_of(float_of(magnitude) * 0x1p112f));
}

EXPANSIVE_HOST_DEVICE inline void from_float(float value, float* out) { *out = value; }
EXPANSIVE_HOST_DEVICE inline void from_float(float value, double* out) {
  *out = static_cast<double>(value);
}
EXPANSIVE_HOST_DEVICE inline void from_float(float value, BFloat16* out) {
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;  // that of a GPU would be carried to -0
  out->bits = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
}
EXPANSIVE_HOST_DEVICE inline void from_float(float value, Half* out) {
  const uint32_t bits = bits_of(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  uint32_t half;
  if (magnitude >= 0x477FF000u) {  // rounds past the largest half
    half = magnitude > 0x7F800000u ? 0x7E00u : 0x7C00u;
  } else if (magnitude < 0x38800000u) {  // subnormal half: let the float adder round at 2^-24
    half = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  } else {
    half = (magnitude - 0x38000000u + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
  }
  out->bits = static_cast<uint16_t>(sign | half);
}

// float64 to float32, rounded to odd: a second rounding to 16 bits is then as good as one.
EXPANSIVE_HOST_DEVICE inline float to_odd_float(double value) {
  const float nearest = static_cast<float>(value);
  const uint32_t bits = bits_of(nearest);
  const double error = value - static_cast<double>(nearest);
  if (error == 0.0 || (bits & 1u) != 0u || nearest - nearest != 0.0f) return nearest;
  if (nearest == 0.0f) return float_of(error > 0.0 ? 1u : 0x80000001u);
  const bool away_from_zero = (error > 0.0) == (nearest > 0.0f);
  return float_of(away_from_zero ? bits + 1u : bits - 1u);
}

EXPANSIVE_HOST_DEVICE inline void from_double(double value, double* out) { *out = value; }
EXPANSIVE_HOST_DEVICE inline void from_double(double value, float* out) {
  *out = static_cast<float>(value);
}
EXPANSIVE_HOST_DEVICE inline void from_double(double value, BFloat16* out) {
  from_float(to_odd_float(value), out);
}
EXPANSIVE_HOST_DEVICE inline void from_double(double value, Half* out) {
  from_float(to_odd_float(value), out);
}

EXPANSIVE_HOST_DEVICE inline double to_double(double value) { return value; }
template <typename T>
EXPANSIVE_HOST_DEVICE inline double to_double(T value) {
  return static_cast<double>(to_float(value));
}

}  // namespace
}  // namespace expansive
