// What the coordinates of images are: each instruction set has its own.
#pragma once

namespace expansive {

struct Elements {
  int per_word;               // of 32 bits: one float32, two bfloat16, or two whole numbers
  bool whole;                 // int16: products, their sums and half norms are whole and exact
  double radius;              // images lie within this of the origin, so that no sum overflows
  double roundings_per_term;  // of the screen's dot product
  double underflow_per_term;  // its absolute error where results are subnormal
};

// Floating-point images hold whatever a row's scale leaves; farther ones might overflow.
inline constexpr double kFloatRadius = 0x1p50;

// Whole numbers, rounded, are within 2^15 - 2^9, up to 2^20 features: products of two images are
// within 2^30, by Cauchy and Schwarz, and values within 31 bits.
inline constexpr double kMostWhole = 32767.0;  // what 16 bits hold, should a row lie outside
inline constexpr Elements kWholeElements = {2, true, 0x1p15 - 0x1p10, 0.0, 0.0};

// A half norm that no row has: with it a column reaches no threshold that a limit has set. Finite,
// and in whole numbers small enough for the sums of any two images.
constexpr float hiding_half_norm(const Elements& elements) {
  return elements.whole ? 0x1p30f : 0x1p110f;
}

}  // namespace expansive
