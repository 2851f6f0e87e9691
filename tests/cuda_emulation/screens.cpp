// Pass A alone, so that each of its numbers can be looked at.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "cuda/kernels.h"

namespace py = pybind11;
using namespace expansive;
using namespace expansive::cuda;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// `queries` and `rows` are blocks of images, of `d` features; [n_queries, tiles] values. For few
// multiprocessors strips are long.
Array<float> screen_values(const Array<uint16_t>& queries, const Array<uint16_t>& rows,
                           const Array<float>& negated_half_norms, int64_t n_queries,
                           int64_t n_rows, int64_t d, int tile_rows, int multiprocessors,
                           bool by_wgmma) {
  const int64_t tiles = (n_rows + tile_rows - 1) / tile_rows;
  Array<float> values({n_queries, tiles});
  for (int64_t i = 0; i < n_queries * tiles; ++i) values.mutable_data()[i] = 1e30f;
  const ScreenTask task{queries.data(),
                        rows.data(),
                        negated_half_norms.data(),
                        values.mutable_data(),
                        n_queries,
                        n_rows,
                        d,
                        tile_rows,
                        Relation::any,
                        {nullptr, nullptr}};
  screen(task, {multiprocessors, by_wgmma}, nullptr);
  return values;
}

}  // namespace

PYBIND11_MODULE(screens, module) { module.def("screen_values", &screen_values); }
