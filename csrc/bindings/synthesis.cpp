#include "expansive/synthesis.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/module.h"

namespace expansive {
namespace {

// The drawing tables together with the arrays they point to.
class PartnerTables {
 public:
  PartnerTables(Int64Array sample_start, Int64Array base_start, Int64Array bases,
                Int64Array partner_start, Int64Array partners, uint64_t seed, double low,
                double high)
      : arrays_{std::move(sample_start), std::move(base_start), std::move(bases),
                std::move(partner_start), std::move(partners)} {
    check(arrays_[0].size() == arrays_[1].size() && arrays_[0].size() >= 1 &&
              arrays_[3].size() == arrays_[2].size() + 1,
          "drawing tables do not fit together");
    tables_ = {arrays_[0].data(),
               arrays_[1].data(),
               arrays_[0].size() - 1,
               arrays_[2].data(),
               arrays_[3].data(),
               arrays_[4].data(),
               seed,
               low,
               high};
  }

  py::tuple draw_rows(const std::optional<Int64Array>& picked, int64_t first, int64_t n,
                      bool wide) const {
    const RowNumbers rows = row_numbers(picked, first, n);
    const DefaultFloatingPoint environment;
    Int64Array base(n), partner(n);
    py::array weight(wide ? py::dtype::of<double>() : py::dtype::of<float>(), n);
    for (int64_t i = 0; i < n; ++i) {
      const Draw drawn = draw(tables_, rows[i]);
      base.mutable_data()[i] = drawn.base;
      partner.mutable_data()[i] = drawn.partner;
      if (wide) {
        static_cast<double*>(weight.mutable_data())[i] = weight_float64(tables_, drawn.u);
      } else {
        static_cast<float*>(weight.mutable_data())[i] = weight_float32(tables_, drawn.u);
      }
    }
    return py::make_tuple(base, partner, weight);
  }

  void synthesize_rows(const py::array& x, const std::string& dtype,
                       const std::optional<Int64Array>& picked, int64_t first, py::array out,
                       const std::string& out_dtype, int threads) const {
    const Rows source = view(x, dtype);
    const MutableRows target = mutable_view(out, out_dtype);
    const RowNumbers rows = row_numbers(picked, first, target.n);
    without_gil([&](Interrupt& interrupt) {
      synthesize(source, tables_, rows, threads, interrupt, target);
    });
  }

 private:
  RowNumbers row_numbers(const std::optional<Int64Array>& picked, int64_t first, int64_t n) const {
    const RowNumbers rows{data_or_null(picked, n), first};
    const int64_t n_samples = tables_.sample_start[tables_.n_classes];
    const auto check_row = [&](int64_t i) {
      check(rows[i] >= 0 && rows[i] < n_samples, "no such synthetic row");
    };
    if (picked) {
      for (int64_t i = 0; i < n; ++i) check_row(i);
    } else if (n > 0) {
      check_row(0);
      check_row(n - 1);
    }
    return rows;
  }

  Int64Array arrays_[5];
  Partners tables_;
};

using Float64Array = py::array_t<double, py::array::c_style>;

void interpolate(const py::array& x, const std::string& dtype, const Int64Array& base,
                 const Int64Array& partner, const Float64Array& weight, py::array out,
                 const std::string& out_dtype, int threads) {
  const Rows source = view(x, dtype);
  const MutableRows target = mutable_view(out, out_dtype);
  for (const Int64Array* numbers : {&base, &partner}) {
    check(numbers->size() == target.n, "out has the wrong number of rows");
    for (int64_t i = 0; i < target.n; ++i) {
      const int64_t row = numbers->data()[i];
      if (row < 0 || row >= source.n) throw py::index_error("row number out of range");
    }
  }
  check(weight.size() == target.n, "out has the wrong number of rows");
  without_gil([&](Interrupt& interrupt) {
    interpolate_rows(source, base.data(), partner.data(), weight.data(), threads, interrupt,
                     target);
  });
}

}  // namespace

void register_synthesis(py::module_& module) {
  module.def("interpolate", &interpolate, py::arg("x"), py::arg("dtype"), py::arg("base"),
             py::arg("partner"), py::arg("weight"), py::arg("out"), py::arg("out_dtype"),
             py::arg("threads"));
  py::class_<PartnerTables>(module, "PartnerTables")
      .def(py::init<Int64Array, Int64Array, Int64Array, Int64Array, Int64Array, uint64_t, double,
                    double>(),
           py::arg("sample_start"), py::arg("base_start"), py::arg("bases"),
           py::arg("partner_start"), py::arg("partners"), py::arg("seed"), py::arg("low"),
           py::arg("high"))
      .def("draw", &PartnerTables::draw_rows, py::arg("rows"), py::arg("first"), py::arg("count"),
           py::arg("wide"))
      .def("synthesize", &PartnerTables::synthesize_rows, py::arg("x"), py::arg("dtype"),
           py::arg("rows"), py::arg("first"), py::arg("out"), py::arg("out_dtype"),
           py::arg("threads"));
}

}  // namespace expansive
