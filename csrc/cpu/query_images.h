// Images of a batch of queries, made by all threads before blocks of them set out, in the order in
// which blocks take them: by class, and near ones together where the database has boxes.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/search_plan.h"

namespace expansive {

class QueryImages {
 public:
  // Of the queries order[first] to order[end - 1].
  QueryImages(const SearchPlan& plan, int64_t first, int64_t end, int threads,
              Interrupt& interrupt);

  // Bytes that one query takes.
  static int64_t bytes_per_query(const Database& database);

  int64_t size() const { return static_cast<int64_t>(slots_.size()); }
  // All by place in this batch's order.
  int64_t query(int64_t i) const { return plan_.order[static_cast<size_t>(first_ + slot(i))]; }
  const Image& image(int64_t i) const { return images_[static_cast<size_t>(slot(i))]; }
  const uint32_t* words(int64_t i) const { return words_.data() + slot(i) * stride_; }
  const uint8_t* byte_image(int64_t i) const { return byte_image_at(slot(i)); }
  double byte_error(int64_t i) const {
    return byte_errors_.empty() ? 0.0
                                : static_cast<double>(byte_errors_[static_cast<size_t>(slot(i))]);
  }

 private:
  int64_t slot(int64_t i) const { return static_cast<int64_t>(slots_[static_cast<size_t>(i)]); }
  uint8_t* byte_image_at(int64_t slot) const {
    return reinterpret_cast<uint8_t*>(byte_data_.data()) + slot * plan_.database.image_bytes();
  }
  void make(int64_t from, int64_t end);
  void sort(int threads, Interrupt& interrupt);
  std::vector<Range> class_runs() const;

  const SearchPlan& plan_;
  int64_t first_;
  int64_t stride_;
  AlignedWords words_;
  AlignedWords byte_data_;
  std::vector<float> byte_errors_;
  std::vector<Image> images_;
  std::vector<uint32_t> slots_;  // place in order -> where its images lie
};

}  // namespace expansive
