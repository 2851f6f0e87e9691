#include "cpu/columns_avx512int8.h"
// The lanes come first: the shared kernels are written in them.
#include "cpu/kernels.h"
#include "cpu/screen_int8.h"

namespace expansive {

extern const Kernels kernels_avx512vnni;
extern const Kernels kernels_avx512int8;
const Kernels kernels_avx512int8 = by_bytes<12, 2>("avx512int8", kernels_avx512vnni);

}  // namespace expansive
