// Whether rows may be screened by bytes, and whether that pays: a guess from a sample.
#pragma once

#include <vector>

#include "cpu/extent.h"
#include "cpu/isa.h"
#include "expansive/interrupt.h"
#include "expansive/rows.h"

namespace expansive {

// What a sample tells of screening by bytes. Nothing here is a bound.
struct Roughness {
  double scale;             // what to multiply rows by, to draw in as many as pays; 0: nothing does
  double candidates;        // rows that a query's bytes could not tell from its k nearest, at most
  double error = 0.0;       // of an image
  double lost = 0.0;        // of a row's squared length, by drawing in
  bool by_lengths = false;  // the rows' lengths bound distances better than distances do
};

// `row_scales` multiply the rows; empty: all one.
Roughness find_roughness(const Rows& rows, const Kernels& kernels,
                         const std::vector<double>& row_scales, const Extent& extent, int64_t k,
                         int threads, Interrupt& interrupt);

// What decides how many candidates are too many: k neighbours among n rows of d features for each
// query, of which some are perhaps estimated for many queries at once (joint_estimates.h).
struct Screened {
  int64_t queries;
  int64_t n;
  int64_t d;
  int64_t k;
  bool jointly;
};

// Whether that many candidates cost less than what screening by bytes saves.
bool bytes_pay(const Roughness& roughness, const Screened& screened);

// Whether it can, whatever the rows, and saves more than sampling them takes.
bool bytes_may_pay(const Screened& screened);

}  // namespace expansive
