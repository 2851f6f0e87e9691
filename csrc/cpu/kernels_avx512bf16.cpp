#include "cpu/columns_avx512bf16.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"

namespace expansive {

extern const Kernels kernels_avx512bf16;
const Kernels kernels_avx512bf16 = make_kernels<12, 2>("avx512bf16");

}  // namespace expansive
