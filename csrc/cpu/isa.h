// Run-time choice of instruction set: one table of kernels for each, filled by one translation
// unit.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/elements.h"
#include "expansive/rows.h"

namespace expansive {

// Columns of the database that may be among a query's nearest, found by the screen.
struct CandidateList {
  float* values = nullptr;      // screen values, larger is nearer
  uint32_t* columns = nullptr;  // positions in the grouped database
  int64_t count = 0;
  int64_t full = 0;  // at this count the list wants pruning; the screen may add a panel more
};

// Passes over lists read and write whole vectors, up to one past the last candidate: a list's
// storage has room for so many more.
inline constexpr int64_t kSpareCandidates = 16;

struct ColumnRange {
  uint32_t begin;
  uint32_t end;
};

// The columns that may be a query's neighbours.
struct RelatedColumns {
  ColumnRange all;
  ColumnRange but[2];
};

// What the kernels' tiles and panels are at most.
inline constexpr int64_t kMostTileQueries = 16;
inline constexpr int64_t kMostPanelColumns = 32;

// One tile of queries against a run of panels: see screen.h.
struct ScreenTask {
  const uint32_t* queries = nullptr;          // [words][tile_queries]
  const float* thresholds = nullptr;          // [tile_queries]
  CandidateList* lists = nullptr;             // [tile_queries]
  const uint32_t* panels = nullptr;           // [panels][words][panel_columns]
  const float* negated_half_norms = nullptr;  // [panels][panel_columns]
  int64_t words = 0;
  int64_t first_panel = 0;
  int64_t end_panel = 0;
  uint32_t column_offset = 0;  // number of the first column of panel 0
};

// What is known of a row's image in the screen's space.
struct ImageSums {
  double squared_norm;    // of the image
  double squared_error;   // of image minus row
  double squared_length;  // of the row
  // Of int8, where each number was brought within what a byte holds before all that:
  double squared_way = 0.0;  // how far that moved the row
  double lost = 0.0;         // what it took from the row's squared length
  bool fits = true;          // int8: the row lies where others are drawn in to
};

// A tile of rows (at most tile_queries) against one panel of a basis: see project.h.
struct ProjectTask {
  const uint32_t* rows;  // `stride` words apart
  int64_t stride;
  int64_t count;
  const uint32_t* basis;  // [words][panel_columns]
  int64_t words;
  double* sums;  // [count][panel_columns]
  int64_t sums_stride;
};

// One byte image against some of those that lie one after the other: see bytes.h.
struct BytesTask {
  const uint8_t* query;
  const uint8_t* images;
  int64_t size;           // bytes of an image
  const int64_t* picked;  // numbers of the images
  int64_t count;
  int64_t* squared_steps;  // [count]
};

// Kernels read and write whole vectors: arrays of floats have this many spare ones at their end.
inline constexpr int64_t kSpareFloats = 15;

// Boxes, in `dims` coordinates, from the box [low, high].
struct BoxesTask {
  const float* low;   // [dims]
  const float* high;  // [dims]
  int64_t dims;
  const float* lows;   // [dims][stride]
  const float* highs;  // [dims][stride]
  int64_t stride;
  int64_t count;
  float* squared_distances;  // [count], and spare ones
};

// A tile of points and one box.
struct ReachTask {
  const float* points;   // [dims][kMostTileQueries]
  const float* reaches;  // [kMostTileQueries] squared; below zero: nothing is within it
  int64_t dims;
  const float* low;   // [dims], `stride` apart
  const float* high;  // [dims], `stride` apart
  int64_t stride;
};

// Some rows of a matrix against one query: see refine.h.
struct RefineTask {
  const double* query;  // widened
  const void* rows;
  int64_t d;
  const double* row_scales;  // or null: all one
  const int64_t* picked;     // numbers of the rows
  int64_t count;
  double limit;
  double* squared_distances;  // [count]
};

// Some rows of a matrix against one query, in float32: see estimate.h.
struct EstimateTask {
  const float* query;
  const void* rows;
  int64_t d;
  const uint32_t* picked;  // numbers of the rows
  int64_t count;
  float* squared_distances;  // [count]
};

// The first three random words of some synthetic rows: see random.h.
struct DrawTask {
  const int64_t* rows;
  int64_t count;
  uint64_t seed;
  uint32_t* words[3];  // [count] each
};

struct InterpolateTask {
  const void* base;
  const void* partner;
  void* out;
  int64_t d;
  double weight;
  bool stream;  // past the caches: the output is too large to stay in them
};

struct Kernels {
  const char* name;
  int tile_queries;
  int panel_columns;
  Elements elements;

  // Returns the panel to go on with: end_panel, or an earlier one after which a list is full.
  int64_t (*screen)(const ScreenTask&);

  // Byte images and their comparison, with sizes a multiple of 64: see bytes.h.
  ImageSums (*prepare_bytes[kDTypes])(const void* row, double row_scale, const double* low,
                                      double scale, double step, int64_t d, uint8_t* bytes);
  void (*compare_bytes)(const BytesTask&);

  // Squared distances of boxes and of points from boxes: see boxes.h.
  void (*measure_boxes)(const BoxesTask&);
  bool (*any_within_reach)(const ReachTask&);

  // image = (row * row_scale - centre) * scale, rounded to the screen's element type. `centre` and
  // `image` are padded to 8 elements, the image with zeros.
  ImageSums (*prepare[kDTypes])(const void* row, double row_scale, const double* centre,
                                double scale, int64_t d, uint32_t* image);
  void (*project)(const ProjectTask&);
  // row * row_scale in float64, padded with zeros to a multiple of 8.
  void (*widen[kDTypes])(const void* row, double row_scale, int64_t d, double* out);
  // The contract's squared distance of a widened query and row * row_scale; where that is above
  // `limit`, some number above `limit`.
  double (*refine[kDTypes])(const double* query, const void* row, double row_scale, int64_t d,
                            double limit);
  // The same for rows from anywhere in memory.
  void (*refine_rows[kDTypes])(const RefineTask&);
  // For rows of 16 or 32 bits, null for float64: a row in float32, and about the squared distances
  // of rows.
  void (*to_floats[kDTypes])(const void* row, int64_t d, float* out);
  void (*estimate_rows[kDTypes])(const EstimateTask&);
  // Passes over candidate lists: see lists.h.
  float (*find_cutoff)(const float* values, int64_t count, int64_t wanted);
  void (*keep_from)(CandidateList& list, float least);
  void (*keep_between)(CandidateList& list, float least, float end);
  void (*keep_related)(CandidateList& list, const RelatedColumns& related);
  void (*find_ranks)(const double* values, int64_t count, int32_t* keys, int32_t* ranks);
  int64_t most_ranked;  // up to here it is quicker to find ranks than to sort
  float (*largest_norm)(const CandidateList& list, float cutoff, const float* norms);
  void (*draw_words)(const DrawTask&);
  void (*interpolate[kDTypes][kDTypes])(const InterpolateTask&);  // [x][out]
  // NaN or infinity if the row holds one: see magnitude.h.
  double (*largest_magnitude[kDTypes])(const void* row, int64_t d);
  void (*fence_streams)();  // after the last streamed row, before others may read it

  // For rows whose neighbours these elements are too rough to find, and for those that are rotated;
  // null: these are fine enough.
  const Kernels* finer = nullptr;
};

// Those that are fine enough for all rows.
inline const Kernels& finest(const Kernels& kernels) {
  return kernels.finer == nullptr ? kernels : *kernels.finer;
}

// 32-bit words of an image of d elements.
inline int64_t image_words(const Kernels& kernels, int64_t d) {
  return words_of(kernels.elements, d);
}

// Element j of an image whose words are `stride` apart.
inline float image_element(const Kernels& kernels, const uint32_t* image, int64_t stride,
                           int64_t j) {
  const Elements& elements = kernels.elements;
  const uint32_t word = image[word_of(elements, j) * stride];
  if (elements.per_word == 4) {
    return static_cast<float>(static_cast<int8_t>(word >> (8 * (j % 4)) & 0xFFu));
  }
  const uint32_t high = elements.per_word == 2 && j % 2 == 0 ? word << 16 : word;
  if (elements.whole) return static_cast<float>(static_cast<int32_t>(high) >> 16);
  const uint32_t bits = elements.per_word == 2 ? high & 0xFFFF0000u : high;
  float element;
  std::memcpy(&element, &bits, sizeof element);
  return element;
}

// The kernels to use now: the best the processor has, or those that EXPANSIVE_ISA names. Throws
// std::invalid_argument where there are none of that name.
const Kernels& kernels();
// Whether EXPANSIVE_ISA names them.
bool isa_is_given();

// Names of the instruction sets that this processor has kernels for; the last is what it takes.
std::vector<std::string> isa_names();

}  // namespace expansive
