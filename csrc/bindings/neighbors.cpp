#include "expansive/neighbors.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "cpu/multiply.h"
#include "expansive/scan.h"

namespace expansive {
namespace {

using FloatMatrix = py::array_t<float, py::array::c_style>;
using StridedFloats = py::array_t<float, 0>;

// The index together with the arrays it reads.
class Index {
 public:
  Index(py::array x, const std::string& dtype, double largest, std::optional<Int64Array> codes,
        int64_t n_classes, const std::string& metric, const std::optional<FloatMatrix>& basis,
        int64_t expected_queries, int64_t expected_k, const std::string& expected_relation,
        int threads, int64_t memory_budget)
      : x_(std::move(x)), wide_(parse_dtype(dtype) == DType::float64) {
    const Rows rows = view(x_, dtype);
    const int64_t* classes = data_or_null(codes, rows.n);
    const Metric parsed = parse_metric(metric);
    const Expected expected{expected_queries, expected_k, parse_relation(expected_relation)};
    Basis directions;
    if (basis) {
      check(basis->ndim() == 2 && basis->shape(1) == rows.d, "the basis does not fit the rows");
      directions = {basis->data(), basis->shape(0)};
    }
    index_ = without_gil([&](Interrupt& interrupt) {
      return std::make_unique<NeighborIndex>(rows, largest, classes, n_classes, parsed, directions,
                                             expected, Resources{threads, memory_budget},
                                             interrupt);
    });
  }

  std::string isa() const { return index_->isa(); }

  py::tuple search(const py::array& queries, const std::string& dtype,
                   const std::optional<Int64Array>& codes,
                   const std::optional<Int64Array>& own_rows, int64_t k,
                   const std::string& relation, int threads, int64_t memory_budget) const {
    const Rows rows = view(queries, dtype);
    const Queries points{rows, data_or_null(codes, rows.n), data_or_null(own_rows, rows.n)};
    const bool wide = wide_ || rows.dtype == DType::float64;
    py::array distance(wide ? py::dtype::of<double>() : py::dtype::of<float>(), {rows.n, k});
    Int64Array index({rows.n, k});
    const Neighbors out{distance.mutable_data(), index.mutable_data(), wide};
    const Relation parsed = parse_relation(relation);
    without_gil([&](Interrupt& interrupt) {
      index_->search(points, k, parsed, Resources{threads, memory_budget}, interrupt, out);
    });
    return py::make_tuple(distance, index);
  }

 private:
  py::array x_;
  bool wide_;
  std::unique_ptr<NeighborIndex> index_;
};

py::tuple scan_array(const py::array& x, const std::string& dtype, int threads) {
  const Rows rows = view(x, dtype);
  const Scan found =
      without_gil([&](Interrupt& interrupt) { return scan(rows, threads, interrupt); });
  return py::make_tuple(found.first_bad_row, found.largest);
}

uint64_t fingerprint_array(const py::array& x, const std::string& dtype, int threads) {
  const Rows rows = view(x, dtype);
  return without_gil([&](Interrupt& interrupt) { return fingerprint(rows, threads, interrupt); });
}

FloatView strided_view(const StridedFloats& matrix) {
  check(matrix.ndim() == 2, "not a matrix");
  const py::ssize_t size = static_cast<py::ssize_t>(sizeof(float));
  return {matrix.data(), matrix.shape(0), matrix.shape(1), matrix.strides(0) / size,
          matrix.strides(1) / size};
}

FloatMatrix multiply_arrays(const StridedFloats& a, const StridedFloats& b, int threads) {
  const FloatView left = strided_view(a), right = strided_view(b);
  FloatMatrix products({left.rows, right.rows});
  float* out = products.mutable_data();
  without_gil([&](Interrupt& interrupt) { multiply(left, right, threads, interrupt, out); });
  return products;
}

}  // namespace

void register_neighbors(py::module_& module) {
  py::class_<Index>(module, "Index")
      .def(py::init<py::array, const std::string&, double, std::optional<Int64Array>, int64_t,
                    const std::string&, const std::optional<FloatMatrix>&, int64_t, int64_t,
                    const std::string&, int, int64_t>(),
           py::arg("x"), py::arg("dtype"), py::arg("largest"), py::arg("codes"),
           py::arg("n_classes"), py::arg("metric"), py::arg("basis"), py::arg("expected_queries"),
           py::arg("expected_k"), py::arg("expected_relation"), py::arg("threads"),
           py::arg("memory_budget"))
      .def_property_readonly("isa", &Index::isa)
      .def("search", &Index::search, py::arg("queries"), py::arg("dtype"), py::arg("codes"),
           py::arg("own_rows"), py::arg("k"), py::arg("relation"), py::arg("threads"),
           py::arg("memory_budget"));
  module.def("scan", &scan_array, py::arg("x"), py::arg("dtype"), py::arg("threads"));
  module.def("fingerprint", &fingerprint_array, py::arg("x"), py::arg("dtype"), py::arg("threads"));
  module.def("multiply", &multiply_arrays, py::arg("a"), py::arg("b"), py::arg("threads"));
}

}  // namespace expansive
