#include "cpu/columns_neon.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"

namespace expansive {

extern const Kernels kernels_neon;
const Kernels kernels_neon = make_kernels<8, 2>("neon");

}  // namespace expansive
