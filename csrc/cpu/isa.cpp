#include "cpu/isa.h"

#include <algorithm>
#include <cstdlib>

#include "expansive/check.h"

namespace expansive {

extern const Kernels kernels_generic;
#if defined(EXPANSIVE_X86)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx2int8;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512vnni;
extern const Kernels kernels_avx512bf16;
extern const Kernels kernels_avx512int8;
#endif

namespace {

// What this processor has, slowest first.
std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> all = {&kernels_generic};
#if defined(EXPANSIVE_X86)
  // Every processor with AVX2 has F16C; older compilers cannot ask for it by name.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx2) all.insert(all.end(), {&kernels_avx2, &kernels_avx2int8});
  if (avx512) all.push_back(&kernels_avx512);
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  if (vnni) all.push_back(&kernels_avx512vnni);
  if (avx512 && __builtin_cpu_supports("avx512bf16")) all.push_back(&kernels_avx512bf16);
  // Intel multiplies bfloat16 at half the rate of whole numbers (benchmarks/RESULTS.md).
  if (all.back() == &kernels_avx512bf16 && __builtin_cpu_is("intel")) {
    std::stable_partition(all.begin(), all.end(),
                          [](const Kernels* table) { return table != &kernels_avx512vnni; });
  }
  if (vnni) {
    // The kernels for rows that bytes are too rough for are the best of those before.
    static const Kernels bytes = [](Kernels table, const Kernels* finer) {
      table.finer = finer;
      return table;
    }(kernels_avx512int8, all.back());
    all.push_back(&bytes);
  }
#endif
  return all;
}

std::string given_isa() {
  const char* given = std::getenv("EXPANSIVE_ISA");
  return given == nullptr ? "" : given;
}

}  // namespace

bool isa_is_given() { return !given_isa().empty(); }

const Kernels& kernels() {
  const std::vector<const Kernels*> all = tables();
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
