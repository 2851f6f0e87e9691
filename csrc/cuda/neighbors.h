// Certified-exact search on a CUDA device: the contract is that of expansive/neighbors.h.
//
// All pointers are the device's, all work goes to the caller's stream, nothing waits for the device
// and nothing is allocated: the sizes below say how much memory to bring, and the calls lay it out.
// So a search of fixed shapes can be captured in a CUDA graph.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/kernels.h"
#include "expansive/neighbors.h"
#include "expansive/rows.h"

namespace expansive::cuda {

// Bytes that a database keeps beside its rows.
int64_t database_bytes(int64_t n, int64_t d, Metric metric);
// Bytes for a search of q queries: at most `budget`, but what one block of queries needs at least.
int64_t workspace_bytes(int64_t n, int64_t q, int64_t d, int64_t k, int64_t budget);

class Database {
 public:
  // Keeps `rows`, `order` (position in class order -> row; null when they are the same) and
  // `memory` by reference, and fills the memory. No value of a row has a magnitude above `largest`.
  Database(Rows rows, double largest, const uint32_t* order, Metric metric, void* memory,
           cudaStream_t stream);

  // Points to search for, worked on in class order. For Relation::any the classes may be null.
  struct Points {
    Rows rows;
    const uint32_t* order;        // worked-on query -> query; null when they are the same
    const uint32_t* class_begin;  // positions of its class, by worked-on query
    const uint32_t* class_end;
    const int64_t* own_rows;  // the database row each query is, by query; -1 for none; or null
  };

  // `budget` as in workspace_bytes. `squared` leaves distances as they are ranked. `k` may exceed
  // the number of rows.
  void search(const Points& points, int64_t k, Relation relation, bool squared, int64_t budget,
              void* workspace, const Chip& chip, const Neighbors& out, cudaStream_t stream) const;

 private:
  Rows rows_;
  const uint32_t* order_;
  Metric metric_;
  Space space_;
  DatabaseImages images_;
};

}  // namespace expansive::cuda
