#include <pybind11/pybind11.h>

#include "cuda/device.h"

namespace py = pybind11;

PYBIND11_MODULE(_cuda, module) {
  module.doc() = "CUDA kernels of expansive; loads without a driver.";
  module.def("find_problem", &expansive::cuda::find_problem);
  module.def("describe_device", &expansive::cuda::describe_device, py::arg("device"));
}
