// Names, as Python passes them, as the kernels' enumerations.
#pragma once

#include <string>

#include "expansive/check.h"
#include "expansive/neighbors.h"
#include "expansive/rows.h"

namespace expansive {

inline DType parse_dtype(const std::string& name) {
  if (name == "float16") return DType::float16;
  if (name == "bfloat16") return DType::bfloat16;
  if (name == "float32") return DType::float32;
  check(name == "float64", "unknown dtype '" + name + "'");
  return DType::float64;
}

inline Metric parse_metric(const std::string& name) {
  if (name == "euclidean") return Metric::euclidean;
  if (name == "sqeuclidean") return Metric::sqeuclidean;
  check(name == "cosine", "unknown metric '" + name + "'");
  return Metric::cosine;
}

inline Relation parse_relation(const std::string& name) {
  if (name == "enemy") return Relation::enemy;
  if (name == "friend") return Relation::friendly;
  check(name == "any", "unknown relation '" + name + "'");
  return Relation::any;
}

}  // namespace expansive
