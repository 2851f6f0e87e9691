// What the coordinates of images are: each instruction set has its own.
#pragma once

#include <cstdint>

namespace expansive {

struct Elements {
  int per_word;               // of 32 bits: one float32, two bfloat16 or int16, or four int8
  bool whole;                 // int16 or int8: products, sums and half norms are whole and exact
  double radius;              // images lie within this of the origin, so that no sum overflows;
                              // int8: see kLaneRadius
  double roundings_per_term;  // of the screen's dot product
  double underflow_per_term;  // its absolute error where results are subnormal
  int words_per_run = 0;      // int8: summed in 16 bits, after a word of the run's own; else 0
};

// Floating-point images hold whatever a row's scale leaves; farther ones might overflow.
inline constexpr double kFloatRadius = 0x1p50;

// Whole numbers, rounded, are within 2^15 - 2^9, up to 2^20 features: products of two images are
// within 2^30, by Cauchy and Schwarz, and values within 31 bits.
inline constexpr double kMostWhole = 32767.0;  // what 16 bits hold, should a row lie outside
inline constexpr Elements kWholeElements = {2, true, 0x1p15 - 0x1p10, 0.0, 0.0};

// Bytes come in runs of 64, of which the first two and the last two of every word make a lane each.
// Lanes lie within a radius, so that two lanes' products sum up to 2^15 at most, by Cauchy and
// Schwarz, even where numbers were rounded after they had been drawn in; all runs' products are
// within 2^30 up to 2^20 features. For the processor's sake queries are shifted to be positive, and
// two shifted products fit 16 bits as well.
inline constexpr int64_t kRunElements = 64;
inline constexpr int kMostByte = 90;     // 2 * (2 * 90) * 90 < 2^15
inline constexpr int kLaneRadius = 178;  // and the rounding of 32 numbers: below sqrt(2^15 - 1)
inline constexpr Elements kByteElements = {4,   true, 0.0,
                                           0.0, 0.0,  static_cast<int>(kRunElements / 4)};

// The word of an image that holds an element.
constexpr int64_t word_of(const Elements& elements, int64_t element) {
  const int64_t word = element / elements.per_word;
  return elements.words_per_run == 0 ? word : word + word / elements.words_per_run + 1;
}

// 32-bit words of an image of d elements, at least one.
constexpr int64_t words_of(const Elements& elements, int64_t d) {
  return word_of(elements, d - 1) + 1;
}

// A word of a query's image as the screen takes it: bytes from 0 on.
inline uint32_t query_word(const Elements& elements, uint32_t word) {
  constexpr uint32_t kShift = kMostByte * 0x01010101u, kSigns = 0x80808080u;
  if (elements.per_word != 4) return word;
  return ((word & ~kSigns) + kShift) ^ (word & kSigns);  // no byte's carry reaches the next
}

// A half norm that no row has: with it a column reaches no threshold that a limit has set. Finite,
// and in whole numbers small enough for the sums of any two images.
constexpr float hiding_half_norm(const Elements& elements) {
  return elements.whole ? 0x1p30f : 0x1p110f;
}

}  // namespace expansive
