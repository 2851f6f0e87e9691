#include "cpu/columns_avx2vnni.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"
// And the screen by bytes in both.
#include "cpu/columns_avx2vnniint8.h"
#include "cpu/screen_int8.h"

namespace expansive {

extern const Kernels kernels_avx2vnni;
const Kernels kernels_avx2vnni = make_kernels<6, 2>("avx2vnni");
extern const Kernels kernels_avx2vnniint8;
const Kernels kernels_avx2vnniint8 = by_bytes<6, 2>("avx2vnniint8", kernels_avx2vnni);

}  // namespace expansive
