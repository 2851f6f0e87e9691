#include "cpu/columns_avx2.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"
// And the screen by bytes in both.
#include "cpu/columns_avx2int8.h"
#include "cpu/screen_int8.h"

namespace expansive {

extern const Kernels kernels_avx2;
const Kernels kernels_avx2 = make_kernels<6, 2>("avx2");
extern const Kernels kernels_avx2int8;
const Kernels kernels_avx2int8 = by_bytes<6, 2>("avx2int8", kernels_avx2);

}  // namespace expansive
