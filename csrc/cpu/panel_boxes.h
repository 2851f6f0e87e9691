// Boxes around runs of images in their leading coordinates, side by side for the kernels of
// boxes.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/isa.h"

namespace expansive {

// Coordinates that boxes have: the leading ones of rotated images, which vary most.
inline constexpr int64_t kBoxDims = 8;

struct Boxes {
  int64_t dims = 0;
  int64_t count = 0;
  std::vector<float> lows;   // [dims][count], and spare ones
  std::vector<float> highs;  // [dims][count], likewise

  Boxes() = default;
  Boxes(int64_t d, int64_t n)
      : dims(d),
        count(n),
        lows(static_cast<size_t>(d * n + kSpareFloats), std::numeric_limits<float>::infinity()),
        highs(lows.size(), -std::numeric_limits<float>::infinity()) {}

  float low(int64_t box, int64_t j) const { return lows[static_cast<size_t>(j * count + box)]; }
  float high(int64_t box, int64_t j) const { return highs[static_cast<size_t>(j * count + box)]; }

  // Grows a box to hold a point, [dims].
  void include(int64_t box, const float* point) {
    for (int64_t j = 0; j < dims; ++j) include(box, j, point[j], point[j]);
  }
  // Grows a box to hold another.
  void include(int64_t box, const Boxes& other, int64_t of) {
    for (int64_t j = 0; j < dims; ++j) include(box, j, other.low(of, j), other.high(of, j));
  }

 private:
  void include(int64_t box, int64_t j, float from, float to) {
    const size_t at = static_cast<size_t>(j * count + box);
    lows[at] = std::min(lows[at], from);
    highs[at] = std::max(highs[at], to);
  }
};

}  // namespace expansive
