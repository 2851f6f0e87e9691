#include "cpu/isa.h"

#include <cstdlib>

#include "expansive/check.h"

namespace expansive {

extern const Kernels kernels_generic;
#if defined(EXPANSIVE_X86)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512vnni;
extern const Kernels kernels_avx512bf16;
#endif

namespace {

struct Entry {
  const Kernels* kernels;
  bool supported;
};

// Slowest first.
std::vector<Entry> entries() {
  std::vector<Entry> all = {{&kernels_generic, true}};
#if defined(EXPANSIVE_X86)
  // Every processor with AVX2 has F16C; older compilers cannot ask for it by name.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  all.push_back({&kernels_avx2, avx2});
  all.push_back({&kernels_avx512, avx512});
  all.push_back({&kernels_avx512vnni, avx512 && __builtin_cpu_supports("avx512vnni")});
  all.push_back({&kernels_avx512bf16, avx512 && __builtin_cpu_supports("avx512bf16")});
#endif
  return all;
}

}  // namespace

const Kernels& kernels() {
  const std::vector<Entry> all = entries();
  const char* wanted = std::getenv("EXPANSIVE_ISA");
  const Kernels* best = nullptr;
  bool found = wanted == nullptr || *wanted == '\0';
  for (const Entry& entry : all) {
    if (entry.supported) best = entry.kernels;
    if (!found && std::string(wanted) == entry.kernels->name) {
      found = true;
      break;
    }
  }
  if (!found) {
    std::string names;
    for (const std::string& name : isa_names()) names += (names.empty() ? "" : ", ") + name;
    check(false, "unknown EXPANSIVE_ISA '" + std::string(wanted) + "'; choose one of " + names);
  }
  return *best;
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.emplace_back(entry.kernels->name);
  return names;
}

}  // namespace expansive
