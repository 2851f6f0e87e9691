// What the coordinates of images are: each instruction set has its own.
#pragma once

#include <cstdint>
#include <limits>

namespace expansive {

struct Elements {
  int per_word;               // of 32 bits: one float32, two bfloat16 or int16, or four int8
  bool whole;                 // int16 or int8: products, sums and half norms are whole and exact
  double radius;              // images lie within this of the origin, so that no sum overflows
  double roundings_per_term;  // of the screen's dot product
  double underflow_per_term;  // its absolute error where results are subnormal
  // Of int8 alone, instead of a radius:
  int words_per_run = 0;     // after a word of the run's own
  int most_byte = 0;         // the largest number
  double lane_radius = 0.0;  // how long half a run is at most
  // Rows whose images are within these lie within those, whatever was rounded, and are left there;
  // without lanes, rows that lie within these.
  int inner_byte = 0;
  double inner_radius = 0.0;
  int64_t most_features = 0;  // sums of more might overflow
  int query_shift = 0;        // added to a query's numbers, so that none is negative
};

// Floating-point images hold whatever a row's scale leaves; farther ones might overflow.
inline constexpr double kFloatRadius = 0x1p50;

// Whole numbers, rounded, are within 2^15 - 2^9, up to 2^20 features: products of two images are
// within 2^30, by Cauchy and Schwarz, and values within 31 bits.
inline constexpr double kMostWhole = 32767.0;  // what 16 bits hold, should a row lie outside
inline constexpr Elements kWholeElements = {2, true, 0x1p15 - 0x1p10, 0.0, 0.0};

// Bytes come in runs, each after a word with what its sums start at. For some processors' sake
// queries are shifted to have no negative ones.
//
// Runs whose sums have 16 bits: of 64 features, of which the first two and the last two of every
// word make a lane each. Lanes lie within a radius, so that two lanes' products sum up to 2^15 at
// most, by Cauchy and Schwarz, even where numbers were rounded after they had been drawn in; all
// runs' products are within 2^30. Two shifted products fit 16 bits as well: 2 * (2 * 90) * 90 <
// 2^15; and the radius, with the rounding of 32 numbers, is below sqrt(2^15 - 1).
inline constexpr double kLaneRounding = 2.83;  // half the root of 32, rounded up
inline constexpr Elements kShortRuns = {
    4, true, 0.0, 0.0, 0.0, 16, 90, 178.0, 89, 178.0 - kLaneRounding, int64_t{1} << 20, 90};

// All features as one run whose sums have 32 bits: 127^2 * 2^16 < 2^30. With a shift, and without.
// There are no lanes: each number of a row is brought within +-127 as it is read.
inline constexpr double kAnyLength = std::numeric_limits<double>::infinity();
inline constexpr Elements kOneRun = {
    4, true, 0.0, 0.0, 0.0, 1 << 14, 127, kAnyLength, 127, kAnyLength, int64_t{1} << 16, 127};
inline constexpr Elements kOneSignedRun = {
    4, true, 0.0, 0.0, 0.0, 1 << 14, 127, kAnyLength, 127, kAnyLength, int64_t{1} << 16};

constexpr bool has_lanes(const Elements& elements) { return elements.lane_radius < kAnyLength; }

constexpr int64_t features_per_run(const Elements& elements) { return 4 * elements.words_per_run; }

// The word of an image that holds an element.
constexpr int64_t word_of(const Elements& elements, int64_t element) {
  const int64_t word = element / elements.per_word;
  return elements.words_per_run == 0 ? word : word + word / elements.words_per_run + 1;
}

// 32-bit words of an image of d elements, at least one.
constexpr int64_t words_of(const Elements& elements, int64_t d) {
  return word_of(elements, d - 1) + 1;
}

// A word of a query's image as the screen takes it.
inline uint32_t query_word(const Elements& elements, uint32_t word) {
  constexpr uint32_t kSigns = 0x80808080u;
  if (elements.query_shift == 0) return word;
  const uint32_t shift = static_cast<uint32_t>(elements.query_shift) * 0x01010101u;
  return ((word & ~kSigns) + shift) ^ (word & kSigns);  // no byte's carry reaches the next
}

// A half norm that no row has: with it a column reaches hardly any threshold. Finite, and in
// whole numbers small enough for the sums of any two images.
constexpr float hiding_half_norm(const Elements& elements) {
  return elements.whole ? 0x1p30f : 0x1p110f;
}

}  // namespace expansive
