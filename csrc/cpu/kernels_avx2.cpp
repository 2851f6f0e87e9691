#include "cpu/columns_avx2.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"

namespace expansive {

extern const Kernels kernels_avx2;
const Kernels kernels_avx2 = make_kernels<6, 2>("avx2");

}  // namespace expansive
