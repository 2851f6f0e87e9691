#include "cpu/columns_avx512vnni.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"

namespace expansive {

extern const Kernels kernels_avx512vnni;
const Kernels kernels_avx512vnni = make_kernels<12, 2>("avx512vnni");

}  // namespace expansive
