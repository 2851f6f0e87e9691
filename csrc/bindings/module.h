// One function a file of bindings: it adds its part to the extension.
#pragma once

#include <pybind11/pybind11.h>

namespace expansive {

void register_neighbors(pybind11::module_& module);
void register_synthesis(pybind11::module_& module);

}  // namespace expansive
