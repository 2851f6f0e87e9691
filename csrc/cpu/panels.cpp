#include "cpu/panels.h"

#include <algorithm>
#include <limits>

#include "cpu/integers.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kPanelsPerTask = 16;

int64_t panel_count(const Kernels& kernels, int64_t columns) {
  return divide_up(columns, kernels.panel_columns);
}

}  // namespace

int64_t Panels::bytes(const Database& database, int64_t count) {
  const int64_t columns = panel_count(*database.kernels, count) * database.kernels->panel_columns;
  return columns * (database.images.words() + 1) * static_cast<int64_t>(sizeof(uint32_t));
}

Panels::Panels(const Database& database, int64_t first, int64_t count, int threads,
               Interrupt& interrupt)
    : first_(first),
      count_(count),
      data_(panel_count(*database.kernels, count) * database.kernels->panel_columns *
            database.images.words()),
      negated_half_norms_(static_cast<size_t>(panel_count(*database.kernels, count) *
                                              database.kernels->panel_columns)) {
  const int64_t n_panels = panel_count(*database.kernels, count);
  std::vector<Image> worst(static_cast<size_t>(threads), worst_);
  parallel_for(
      divide_up(n_panels, kPanelsPerTask), threads, interrupt, [&](int64_t task, int worker) {
        std::vector<uint32_t> images(
            static_cast<size_t>(database.kernels->panel_columns * database.images.stride()));
        const int64_t end = std::min(n_panels, (task + 1) * kPanelsPerTask);
        Image& mine = worst[static_cast<size_t>(worker)];
        for (int64_t panel = task * kPanelsPerTask; panel < end; ++panel) {
          mine = worse(mine, pack(database, panel, images));
        }
      });
  for (const Image& image : worst) worst_ = worse(worst_, image);
}

Image Panels::pack(const Database& database, int64_t panel, std::vector<uint32_t>& images) {
  const int64_t width = database.kernels->panel_columns, stride = database.images.stride();
  const int64_t used = std::min(width, count_ - panel * width);
  std::vector<ScaledRow> rows(static_cast<size_t>(used));
  std::vector<Image> made(static_cast<size_t>(used));
  for (int64_t column = 0; column < used; ++column) {
    rows[static_cast<size_t>(column)] =
        database.scaled_row(database.grouping.row(first_ + panel * width + column));
  }
  database.images.make(rows.data(), used, database.rows.dtype, images.data(), made.data());
  float* norms = negated_half_norms_.data() + panel * width;
  Image worst{0.0, 0.0, 0.0};
  for (const Image& image : made) {
    *norms++ = -database.space.half_norm(image.squared_norm);
    worst = worse(worst, image);
  }
  std::fill(norms, norms + (width - used), -std::numeric_limits<float>::infinity());
  std::fill(images.begin() + used * stride, images.end(), 0u);

  const int64_t words = database.images.words();
  uint32_t* out = data_.data() + panel * words * width;
  for (int64_t j = 0; j < words; ++j) {
    for (int64_t column = 0; column < width; ++column) {
      *out++ = images[static_cast<size_t>(column * stride + j)];
    }
  }
  return worst;
}

}  // namespace expansive
