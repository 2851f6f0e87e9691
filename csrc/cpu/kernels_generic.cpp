#include "cpu/lanes_generic.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"

namespace expansive {

extern const Kernels kernels_generic;
const Kernels kernels_generic = make_kernels<4, 2>("generic");

}  // namespace expansive
