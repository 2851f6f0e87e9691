// NumPy arrays as the kernels' views, checked; and calls that release the GIL and heed Ctrl-C.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "bindings/gil.h"
#include "bindings/names.h"
#include "cpu/floating_point.h"
#include "expansive/check.h"
#include "expansive/interrupt.h"
#include "expansive/rows.h"

namespace expansive {

namespace py = pybind11;
using Int64Array = py::array_t<int64_t, py::array::c_style>;

inline void check_matrix(const py::array& array, DType dtype) {
  check(array.ndim() == 2 && array.itemsize() == size_of(dtype), "not a matrix of this dtype");
  check((array.flags() & py::array::c_style) != 0, "not a contiguous matrix");
}

inline Rows view(const py::array& array, const std::string& dtype_name) {
  const DType dtype = parse_dtype(dtype_name);
  check_matrix(array, dtype);
  return {array.data(), array.shape(0), array.shape(1), dtype};
}

inline MutableRows mutable_view(py::array& array, const std::string& dtype_name) {
  const DType dtype = parse_dtype(dtype_name);
  check_matrix(array, dtype);
  return {array.mutable_data(), array.shape(0), array.shape(1), dtype};
}

inline const int64_t* data_or_null(const std::optional<Int64Array>& array, int64_t n) {
  if (!array) return nullptr;
  check(array->size() == n, "an index array has the wrong length");
  return array->data();
}

// Runs work(interrupt) without the GIL, under the default floating-point environment. Ctrl-C ends
// it with the KeyboardInterrupt (or whatever else the signal handler raised).
template <typename Work>
auto without_gil(const Work& work) {
  Interrupt interrupt(signal_raised);
  try {
    const WithoutGil release;
    const DefaultFloatingPoint environment;
    return work(interrupt);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

}  // namespace expansive
