#include "cpu/panels.h"

#include <algorithm>
#include <limits>
#include <new>

#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr std::align_val_t kCacheLine{64};
constexpr int64_t kPanelsPerTask = 16;

// Room for one image as the kernels write it.
int64_t padded_words(const Database& database) {
  return image_words(*database.kernels, (database.rows.d + 7) / 8 * 8);
}

int64_t panel_count(const Kernels& kernels, int64_t columns) {
  return (columns + kernels.panel_columns - 1) / kernels.panel_columns;
}

}  // namespace

AlignedWords::AlignedWords(int64_t n)
    : data_(static_cast<uint32_t*>(
          ::operator new[](static_cast<size_t>(n) * sizeof(uint32_t), kCacheLine))) {}

void AlignedWords::Free::operator()(uint32_t* p) const { ::operator delete[](p, kCacheLine); }

int64_t Panels::bytes(const Database& database, int64_t count) {
  const int64_t columns = panel_count(*database.kernels, count) * database.kernels->panel_columns;
  return columns * (database.words() + 1) * static_cast<int64_t>(sizeof(uint32_t));
}

Panels::Panels(const Database& database, int64_t first, int64_t count, int threads,
               Interrupt& interrupt)
    : first_(first),
      count_(count),
      data_(panel_count(*database.kernels, count) * database.kernels->panel_columns *
            database.words()),
      negated_half_norms_(static_cast<size_t>(panel_count(*database.kernels, count) *
                                              database.kernels->panel_columns)) {
  const int64_t n_panels = panel_count(*database.kernels, count);
  std::vector<double> errors(static_cast<size_t>(threads), 0.0);
  parallel_for((n_panels + kPanelsPerTask - 1) / kPanelsPerTask, threads, interrupt,
               [&](int64_t task, int worker) {
                 std::vector<uint32_t> images(
                     static_cast<size_t>(database.kernels->panel_columns * padded_words(database)));
                 const int64_t end = std::min(n_panels, (task + 1) * kPanelsPerTask);
                 double& largest = errors[static_cast<size_t>(worker)];
                 for (int64_t panel = task * kPanelsPerTask; panel < end; ++panel) {
                   largest = std::max(largest, pack(database, panel, images));
                 }
               });
  largest_error_ = *std::max_element(errors.begin(), errors.end());
}

double Panels::pack(const Database& database, int64_t panel, std::vector<uint32_t>& images) {
  const Kernels& kernels = *database.kernels;
  const int64_t width = kernels.panel_columns, stride = padded_words(database);
  const int64_t used = std::min(width, count_ - panel * width);
  float* norms = negated_half_norms_.data() + panel * width;
  double largest = 0.0;
  for (int64_t column = 0; column < used; ++column) {
    const int64_t row = database.grouping.row(first_ + panel * width + column);
    const ScreenRow image = kernels.prepare[database.dtype()](
        database.rows.row(row), database.row_scale(row), database.space.centre(),
        database.space.scale(), database.rows.d, images.data() + column * stride);
    norms[column] = -database.space.half_norm(image);
    largest = std::max(largest, database.space.image_error(image));
  }
  std::fill(images.begin() + used * stride, images.end(), 0u);
  std::fill(norms + used, norms + width, -std::numeric_limits<float>::infinity());

  const int64_t words = database.words();
  uint32_t* out = data_.data() + panel * words * width;
  for (int64_t j = 0; j < words; ++j) {
    for (int64_t column = 0; column < width; ++column) {
      *out++ = images[static_cast<size_t>(column * stride + j)];
    }
  }
  return largest;
}

}  // namespace expansive
