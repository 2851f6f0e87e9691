// A stretch of the grouped database packed for the screen: [panel][word][column].
//
// Rotated rows also have byte images for the second screen. If the whole database is packed at once
// they are put in an order in which neighbours are near, and boxes around panels, and around
// clusters of panels, tell which of them a query need not look at.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/database.h"
#include "cpu/panel_boxes.h"

namespace expansive {

class Panels {
 public:
  // Panels of a cluster: one look at its box can save looking at all of theirs.
  static constexpr int64_t kClusterPanels = 16;

  // Room for `capacity` positions; memory of one stretch serves the next.
  Panels(const Database& database, int64_t capacity);

  // Packs the positions [first, first + count) of the database; `first` is a multiple of the panel
  // width. Columns past the end hold zeros and a half norm that no threshold reaches.
  void pack(const Database& database, int64_t first, int64_t count, int threads,
            Interrupt& interrupt);
  // Packs the whole of a rotated database in spatial order within classes: its grouping changes.
  void pack_sorted(Database& database, int threads, Interrupt& interrupt);

  static int64_t bytes(const Database& database, int64_t count);

  int64_t first() const { return first_; }
  int64_t end() const { return first_ + count_; }
  const uint32_t* data() const { return data_.data(); }
  const float* negated_half_norms() const { return negated_half_norms_.data(); }
  // For the second screen: byte images by slot, their errors by position.
  int64_t slot(int64_t position) const {
    return sorted_ ? sorted_->row(position) : position - first_;
  }
  const uint8_t* byte_images() const { return byte_image_at(0); }
  float byte_error(int64_t position) const {
    return byte_errors_[static_cast<size_t>(position - first_)];
  }
  const float* byte_errors() const { return byte_errors_.data(); }
  // The worst of any image here.
  const Image& worst() const { return worst_; }
  // Around panels, and clusters of them; none where the order is not spatial.
  bool has_boxes() const { return boxes_.count > 0; }
  const Boxes& boxes() const { return boxes_; }
  const Boxes& cluster_boxes() const { return cluster_boxes_; }

 private:
  // Of all rows, in their own order.
  struct AllRows {
    AlignedWords words;
    std::vector<float> half_norms;
    std::vector<float> points;  // leading coordinates
  };

  uint8_t* byte_image_at(int64_t slot) const {
    return reinterpret_cast<uint8_t*>(byte_data_.data()) + slot * image_bytes_;
  }
  template <typename RowOf>
  void make_images(const Database& database, int64_t slot, int64_t count, const RowOf& row_of,
                   uint32_t* words, Image* images);
  Image pack_some(const Database& database, int64_t first_panel, int64_t end_panel);
  template <typename ImageOf>
  void transpose(const Database& database, int64_t panel, const ImageOf& image_of);
  AllRows make_all(const Database& database, int threads, Interrupt& interrupt);
  void box(const Database& database, const float* points);

  int64_t first_ = 0;
  int64_t count_ = 0;
  int64_t image_bytes_;
  AlignedWords data_;       // [panel][word][column]
  AlignedWords byte_data_;  // [slot][byte]
  std::vector<float> byte_errors_;
  std::vector<float> negated_half_norms_;
  const Grouping* sorted_ = nullptr;  // set: byte images lie by row number, not by position
  Boxes boxes_;
  Boxes cluster_boxes_;
  Image worst_;
};

}  // namespace expansive
