#include "bindings/module.h"

#include <pybind11/stl.h>

#include "cpu/isa.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled kernels of expansive.";
  expansive::register_neighbors(module);
  expansive::register_synthesis(module);
  module.def("isa", [] { return std::string(expansive::kernels().name); });
  module.def("isa_names", &expansive::isa_names);
}
