#include "cpu/panels.h"

#include <algorithm>
#include <array>
#include <limits>

#include "cpu/integers.h"
#include "cpu/spatial_order.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kPanelsPerTask = 16;
constexpr int64_t kRowsPerTask = 1024;

int64_t width(const Database& database) { return database.kernels->panel_columns; }

// Columns of as many whole panels as hold `count` positions.
int64_t padded(const Database& database, int64_t count) { return round_up(count, width(database)); }

// Runs body(first, end) over tasks of `length` and gives the worst of what they return.
template <typename Body>
Image worst_of_tasks(int64_t n, int64_t length, int threads, Interrupt& interrupt,
                     const Body& body) {
  std::vector<Image> worst(static_cast<size_t>(threads));
  parallel_for(divide_up(n, length), threads, interrupt, [&](int64_t task, int worker) {
    Image& mine = worst[static_cast<size_t>(worker)];
    mine = worse(mine, body(task * length, std::min(n, (task + 1) * length)));
  });
  Image all;
  for (const Image& image : worst) all = worse(all, image);
  return all;
}

}  // namespace

int64_t Panels::bytes(const Database& database, int64_t count) {
  const int64_t columns = padded(database, count);
  // Where rows are sorted, their images lie by row first, and points are sorted whole, by two
  // copies.
  const int64_t point_words = 2 * (kBoxDims + 1);
  const int64_t copy =
      database.bytes ? database.images.stride() + database.box_dims() + point_words + 4 : 0;
  const int64_t hiding = database.copies.empty() ? 0 : 1;  // half norms of one search
  const int64_t words = database.images.words() + 2 + copy + hiding;
  return columns * (words * static_cast<int64_t>(sizeof(uint32_t)) + database.image_bytes());
}

Panels::Panels(const Database& database, int64_t capacity)
    : image_bytes_(database.image_bytes()),
      data_(padded(database, capacity) * database.images.words()),
      byte_data_(padded(database, capacity) * image_bytes_ / 4),
      byte_errors_(static_cast<size_t>(database.bytes ? padded(database, capacity) : 0)),
      negated_half_norms_(static_cast<size_t>(padded(database, capacity))) {}

void Panels::pack(const Database& database, int64_t first, int64_t count, int threads,
                  Interrupt& interrupt) {
  first_ = first;
  count_ = count;
  std::fill(negated_half_norms_.begin(), negated_half_norms_.end(),
            -std::numeric_limits<float>::infinity());
  const int64_t at_once = std::max<int64_t>(1, database.images.group() / width(database));
  worst_ = worst_of_tasks(
      divide_up(count, width(database)), kPanelsPerTask, threads, interrupt,
      [&](int64_t panel, int64_t end) {
        Image worst;
        for (; panel < end; panel += at_once) {
          worst = worse(worst, pack_some(database, panel, std::min(end, panel + at_once)));
        }
        return worst;
      });
}

// Makes images of `count` rows, the i-th row_of(i), byte images too, from a slot on.
template <typename RowOf>
void Panels::make_images(const Database& database, int64_t slot, int64_t count, const RowOf& row_of,
                         uint32_t* words, Image* images) {
  std::vector<ScaledRow> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    rows[static_cast<size_t>(i)] = database.scaled_row(row_of(i));
  }
  database.make_images(rows.data(), count, database.rows.dtype,
                       {words, images, byte_image_at(slot), byte_errors_.data() + slot});
}

Image Panels::pack_some(const Database& database, int64_t first_panel, int64_t end_panel) {
  const int64_t from = first_panel * width(database), stride = database.images.stride();
  const int64_t used = std::min(end_panel * width(database), count_) - from;
  thread_local std::vector<uint32_t> words;
  words.resize(static_cast<size_t>(used * stride));
  std::vector<Image> images(static_cast<size_t>(used));
  const auto row_of = [&](int64_t i) { return database.grouping.row(first_ + from + i); };
  make_images(database, from, used, row_of, words.data(), images.data());
  Image worst;
  for (int64_t i = 0; i < used; ++i) {
    const Image& image = images[static_cast<size_t>(i)];
    negated_half_norms_[static_cast<size_t>(from + i)] = -database.space.half_norm(image);
    worst = worse(worst, image);
  }
  for (int64_t panel = first_panel; panel < end_panel; ++panel) {
    transpose(database, panel,
              [&](int64_t position) { return words.data() + (position - from) * stride; });
  }
  return worst;
}

// Puts the images of a panel's columns side by side, zeros where there are none.
template <typename ImageOf>
void Panels::transpose(const Database& database, int64_t panel, const ImageOf& image_of) {
  const int64_t words = database.images.words(), columns = width(database);
  const int64_t first = panel * columns, count = std::min(columns, count_ - first);
  uint32_t* out = data_.data() + panel * words * columns;
  std::array<const uint32_t*, kMostPanelColumns> image;
  for (int64_t c = 0; c < count; ++c) image[static_cast<size_t>(c)] = image_of(first + c);
  for (int64_t j = 0; j < words; ++j, out += columns) {
    for (int64_t c = 0; c < count; ++c) out[c] = image[static_cast<size_t>(c)][j];
    std::fill(out + count, out + columns, 0u);
  }
}

Panels::AllRows Panels::make_all(const Database& database, int threads, Interrupt& interrupt) {
  const ImageMaker& maker = database.images;
  const int64_t n = database.rows.n, stride = maker.stride(), dims = database.box_dims();
  AllRows rows{AlignedWords(n * stride), std::vector<float>(static_cast<size_t>(n)),
               std::vector<float>(static_cast<size_t>(n * dims))};
  worst_ = worst_of_tasks(n, kRowsPerTask, threads, interrupt, [&](int64_t from, int64_t end) {
    std::vector<Image> images(static_cast<size_t>(end - from));
    make_images(
        database, from, end - from, [=](int64_t i) { return from + i; },
        rows.words.data() + from * stride, images.data());
    Image worst;
    for (int64_t i = from; i < end; ++i) {
      const Image& image = images[static_cast<size_t>(i - from)];
      rows.half_norms[static_cast<size_t>(i)] = database.space.half_norm(image);
      maker.lead(rows.words.data() + i * stride, dims, rows.points.data() + i * dims);
      worst = worse(worst, image);
    }
    return worst;
  });
  return rows;
}

void Panels::pack_sorted(Database& database, int threads, Interrupt& interrupt) {
  first_ = 0;
  count_ = database.rows.n;
  const AllRows rows = make_all(database, threads, interrupt);
  database.grouping.reorder(spatial_order(rows.points.data(), database.box_dims(),
                                          database.grouping.rows(), database.grouping.classes(),
                                          width(database), threads, interrupt));
  sorted_ = &database.grouping;
  std::fill(negated_half_norms_.begin(), negated_half_norms_.end(),
            -std::numeric_limits<float>::infinity());
  const std::vector<float> errors = byte_errors_;
  for (int64_t position = 0; position < count_; ++position) {
    const size_t to = static_cast<size_t>(position), from = static_cast<size_t>(slot(position));
    negated_half_norms_[to] = -rows.half_norms[from];
    byte_errors_[to] = errors[from];
  }
  parallel_for(divide_up(count_, width(database)), threads, interrupt, [&](int64_t panel, int) {
    transpose(database, panel, [&](int64_t position) {
      return rows.words.data() + slot(position) * database.images.stride();
    });
  });
  box(database, rows.points.data());
}

void Panels::box(const Database& database, const float* points) {
  const int64_t dims = database.box_dims();
  boxes_ = Boxes(dims, divide_up(count_, width(database)));
  for (int64_t i = 0; i < count_; ++i) boxes_.include(i / width(database), points + slot(i) * dims);
  cluster_boxes_ = Boxes(dims, divide_up(boxes_.count, kClusterPanels));
  for (int64_t i = 0; i < boxes_.count; ++i) cluster_boxes_.include(i / kClusterPanels, boxes_, i);
}

}  // namespace expansive
