#include "cpu/columns_neonint8.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"
#include "cpu/screen_int8.h"

namespace expansive {

extern const Kernels kernels_neon;
extern const Kernels kernels_neonint8;
const Kernels kernels_neonint8 = by_bytes<10, 2>("neonint8", kernels_neon);

}  // namespace expansive
