#include "cpu/panels.h"

#include <algorithm>
#include <limits>

#include "cpu/integers.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kPanelsPerTask = 16;

int64_t width(const Database& database) { return database.kernels->panel_columns; }

// Columns of as many whole panels as hold `count` positions.
int64_t padded(const Database& database, int64_t count) { return round_up(count, width(database)); }

}  // namespace

int64_t Panels::bytes(const Database& database, int64_t count) {
  const int64_t columns = padded(database, count);
  const int64_t words = database.images.words() + database.images.rescreen_words() + 2;
  return columns * words * static_cast<int64_t>(sizeof(uint32_t));
}

Panels::Panels(const Database& database, int64_t capacity)
    : rescreen_words_(database.images.rescreen_words()),
      data_(padded(database, capacity) * database.images.words()),
      rescreen_data_(padded(database, capacity) * rescreen_words_),
      negated_half_norms_(static_cast<size_t>(padded(database, capacity))),
      negated_rescreen_half_norms_(negated_half_norms_.size()) {}

void Panels::pack(const Database& database, int64_t first, int64_t count, int threads,
                  Interrupt& interrupt) {
  first_ = first;
  count_ = count;
  worst_ = {};
  const int64_t n_panels = divide_up(count, width(database));
  std::fill(negated_half_norms_.begin(), negated_half_norms_.end(),
            -std::numeric_limits<float>::infinity());
  const int64_t at_once = std::max<int64_t>(1, database.images.group() / width(database));
  std::vector<Images> worst(static_cast<size_t>(threads));
  parallel_for(divide_up(n_panels, kPanelsPerTask), threads, interrupt,
               [&](int64_t task, int worker) {
                 const int64_t end = std::min(n_panels, (task + 1) * kPanelsPerTask);
                 Images& mine = worst[static_cast<size_t>(worker)];
                 for (int64_t panel = task * kPanelsPerTask; panel < end; panel += at_once) {
                   mine = worse(mine, pack_some(database, panel, std::min(end, panel + at_once)));
                 }
               });
  for (const Images& images : worst) worst_ = worse(worst_, images);
}

Images Panels::pack_some(const Database& database, int64_t first_panel, int64_t end_panel) {
  const int64_t first = first_panel * width(database), stride = database.images.stride();
  const int64_t used = std::min(end_panel * width(database), count_) - first;
  thread_local std::vector<uint32_t> images;
  images.resize(static_cast<size_t>(used * stride));
  std::vector<ScaledRow> rows(static_cast<size_t>(used));
  std::vector<Images> made(static_cast<size_t>(used));
  for (int64_t i = 0; i < used; ++i) {
    rows[static_cast<size_t>(i)] = database.scaled_row(database.grouping.row(first_ + first + i));
  }
  database.images.make(rows.data(), used, database.rows.dtype,
                       {images.data(), rescreen_data_.data() + first * rescreen_words_},
                       made.data());
  Images worst;
  for (int64_t i = 0; i < used; ++i) {
    const Images& image = made[static_cast<size_t>(i)];
    const size_t position = static_cast<size_t>(first + i);
    negated_half_norms_[position] = -database.space.half_norm(image.screen.squared_norm);
    negated_rescreen_half_norms_[position] =
        -database.rescreen_space.half_norm(image.rescreen.squared_norm);
    worst = worse(worst, image);
  }
  for (int64_t panel = first_panel; panel < end_panel; ++panel) {
    const int64_t from = (panel - first_panel) * width(database);
    transpose(database, images.data() + from * stride, std::min(width(database), used - from),
              panel);
  }
  return worst;
}

// Puts the images of a panel's first `count` columns side by side, zeros for the others.
void Panels::transpose(const Database& database, const uint32_t* images, int64_t count,
                       int64_t panel) {
  const int64_t stride = database.images.stride(), words = database.images.words();
  uint32_t* out = data_.data() + panel * words * width(database);
  for (int64_t j = 0; j < words; ++j, out += width(database)) {
    for (int64_t column = 0; column < count; ++column) out[column] = images[column * stride + j];
    std::fill(out + count, out + width(database), 0u);
  }
}

}  // namespace expansive
