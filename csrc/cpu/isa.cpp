#include "cpu/isa.h"

#include <algorithm>
#include <cstdlib>

#include "expansive/check.h"

#if defined(EXPANSIVE_X86)
#include <cpuid.h>
#elif defined(EXPANSIVE_ARM) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace expansive {

extern const Kernels kernels_generic;
#if defined(EXPANSIVE_X86)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx2int8;
extern const Kernels kernels_avx2vnni;
extern const Kernels kernels_avx2vnniint8;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512vnni;
extern const Kernels kernels_avx512bf16;
extern const Kernels kernels_avx512int8;
#elif defined(EXPANSIVE_ARM)
extern const Kernels kernels_neon;
extern const Kernels kernels_neonint8;
#endif

namespace {

using Tables = std::vector<const Kernels*>;

// Appends what there is to those that screen by bytes, and to the others; each the slowest first.
#if defined(EXPANSIVE_X86)
void append(Tables& bytes, Tables& others) {
  // Every processor with AVX2 has F16C; older compilers cannot ask for it by name.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return;
  others.push_back(&kernels_avx2);
  bytes.push_back(&kernels_avx2int8);
#if defined(EXPANSIVE_AVX_VNNI)  // the assembler knows it
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0) {
    others.push_back(&kernels_avx2vnni);
    bytes.push_back(&kernels_avx2vnniint8);
  }
#endif
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return;
  }
  others.push_back(&kernels_avx512);
  if (__builtin_cpu_supports("avx512vnni")) {
    others.push_back(&kernels_avx512vnni);
    bytes.push_back(&kernels_avx512int8);
  }
  if (!__builtin_cpu_supports("avx512bf16")) return;
  others.push_back(&kernels_avx512bf16);
  // Intel multiplies bfloat16 at half the rate of whole numbers (benchmarks/RESULTS.md).
  if (__builtin_cpu_is("intel")) {
    std::stable_partition(others.begin(), others.end(),
                          [](const Kernels* table) { return table != &kernels_avx512vnni; });
  }
}
#elif defined(EXPANSIVE_ARM)
void append(Tables& bytes, Tables& others) {
  others.push_back(&kernels_neon);
#if defined(__linux__)
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  const bool multiplies_bytes = (getauxval(AT_HWCAP) & kDotProduct) != 0;
#elif defined(__APPLE__)
  const bool multiplies_bytes = true;  // every processor of Apple's for computers
#else
  const bool multiplies_bytes = false;  // nobody to ask
#endif
  if (multiplies_bytes) bytes.push_back(&kernels_neonint8);
}
#else
void append(Tables&, Tables&) {}
#endif

// What this processor has; the last is what it takes if nothing is said. Bytes come after all
// others: for rows that they are too rough for, the last table takes the best of those.
Tables find_tables() {
  Tables bytes, all = {&kernels_generic};
  append(bytes, all);
  if (bytes.empty()) return all;
  static const Kernels best = [](Kernels table, const Kernels* finer) {
    table.finer = finer;
    return table;
  }(*bytes.back(), all.back());
  bytes.back() = &best;
  all.insert(all.end(), bytes.begin(), bytes.end());
  return all;
}

const Tables& tables() {
  static const Tables all = find_tables();
  return all;
}

std::string given_isa() {
  const char* given = std::getenv("EXPANSIVE_ISA");
  return given == nullptr ? "" : given;
}

}  // namespace

bool isa_is_given() { return !given_isa().empty(); }

const Kernels& kernels() {
  const Tables& all = tables();
  const std::string wanted = given_isa();
  if (wanted.empty()) return *all.back();
  std::string names;
  for (const Kernels* table : all) {
    if (wanted == table->name) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  check(false,
        "EXPANSIVE_ISA is '" + wanted + "', which this processor lacks; choose one of " + names);
  return *all.back();
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Kernels* table : tables()) names.emplace_back(table->name);
  return names;
}

}  // namespace expansive
