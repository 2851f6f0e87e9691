// Certified-exact nearest neighbours by label relation.
//
// Result: for each query the k rows with the smallest (squared distance, row number) among the rows
// in the relation. The squared distance is the direct float64 sum of (a - b)^2: component j adds to
// partial sum j mod 8 by fused multiply-add, and the partial sums fold as a tree (halves, quarters,
// pair). The same indices and bits come from every instruction set, thread count and batch.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>

#include "expansive/host_device.h"
#include "expansive/interrupt.h"
#include "expansive/rows.h"

namespace expansive {

enum class Relation : uint8_t { enemy, friendly, any };
enum class Metric : uint8_t { euclidean, sqeuclidean, cosine };

// The distance of a metric; the cosine's rows have unit length.
EXPANSIVE_HOST_DEVICE inline double distance_of(double squared_distance, Metric metric) {
  if (metric == Metric::euclidean) return ::sqrt(squared_distance);
  return metric == Metric::cosine ? 0.5 * squared_distance : squared_distance;
}

// An orthonormal basis of the directions the rows vary most in, [rank][d], the strongest first;
// rank 0 means none. The screen then looks at these and the norm of the rest; what it lets pass is
// screened again in all features, roughly. Any basis of finite directions, up to 2^20 long, gives
// the same result, a good one sooner; it need not be exact, for its defect is measured and
// accounted for.
struct Basis {
  const float* data = nullptr;
  int64_t rank = 0;
};

// About what will be searched for, which changes no result: for few queries there is nothing to
// make ready, and whoever searches for more after all makes it ready every time.
struct Expected {
  int64_t queries;
  int64_t k = 10;
  Relation relation = Relation::any;
};

struct Resources {
  int threads = 1;
  int64_t memory_budget = int64_t{1} << 30;  // bytes of scratch, beside the caller's arrays
};

// Points to search for, finite and of magnitudes up to 2^500. `codes` (class of each query, -1 for
// a class the database lacks) may be null for Relation::any; `own_rows` (the database row each
// query is, never its own neighbour) may be.
struct Queries {
  Rows rows;
  const int64_t* codes = nullptr;
  const int64_t* own_rows = nullptr;
};

// Where results go, both [queries, k]: float64 if `wide`, else float32; padded with inf and -1.
struct Neighbors {
  void* distance = nullptr;
  int64_t* index = nullptr;
  bool wide = false;
};

class NeighborIndex {
 public:
  // Keeps `rows` by reference; all are finite, with magnitudes of at most `largest` (scan.h finds
  // both out), which is at most 2^500. `codes` holds n class codes in [0, n_classes), or is null.
  // Makes rows ready for what is expected. Throws std::invalid_argument for what does not fit.
  NeighborIndex(Rows rows, double largest, const int64_t* codes, int64_t n_classes, Metric metric,
                Basis basis, Expected expected, Resources resources, Interrupt& interrupt);
  ~NeighborIndex();
  NeighborIndex(NeighborIndex&&) noexcept;

  // The instruction set, and elements, that rows are screened by.
  const char* isa() const;

  void search(const Queries& queries, int64_t k, Relation relation, Resources resources,
              Interrupt& interrupt, const Neighbors& out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace expansive
