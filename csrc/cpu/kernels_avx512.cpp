#include "cpu/columns_avx512.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"

namespace expansive {

extern const Kernels kernels_avx512;
const Kernels kernels_avx512 = make_kernels<12, 2>("avx512");

}  // namespace expansive
