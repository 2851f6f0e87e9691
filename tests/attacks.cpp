// Searches data made to attack the screen's bounds, and compares every result with direct sums.
//
// attacks MUTANT: exit status 0 if all neighbours are right, 1 (and what was attacked) if not.
// Compiled with the kernels, in which tests/test_mutations.py has put mutations of the bounds: each
// acts where `expansive_mutant` is its number.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "attack_data.h"
#include "attack_few.h"
#include "attack_int8.h"
#include "cpu/isa.h"
#include "expansive/neighbors.h"

int expansive_mutant = 0;

namespace expansive {

extern const Kernels kernels_generic;
extern const Kernels kernels_coarse;  // the same with images rounded to eight bits
#if defined(EXPANSIVE_X86)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx2int8;
extern const Kernels kernels_avx2vnni;  // this and the next five are emulated with AVX2
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

std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> all = {&kernels_coarse, &kernels_generic};
#if defined(EXPANSIVE_X86)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    all.insert(all.end(),
               {&kernels_avx2, &kernels_avx2int8, &kernels_avx2vnni, &kernels_avx2vnniint8,
                &kernels_avx512, &kernels_avx512vnni, &kernels_avx512bf16, &kernels_avx512int8});
  }
#elif defined(EXPANSIVE_ARM)
  all.insert(all.end(), {&kernels_neon, &kernels_neonint8});
#endif
  return all;
}

const Kernels* chosen = &kernels_generic;

double contract_distance(const double* a, const double* b, int64_t d) {
  double s[8] = {};
  for (int64_t j = 0; j < d; ++j) {
    const double t = a[j] - b[j];
    s[j % 8] = std::fma(t, t, s[j % 8]);
  }
  for (int i = 0; i < 4; ++i) s[i] += s[i + 4];
  for (int i = 0; i < 2; ++i) s[i] += s[i + 2];
  return s[0] + s[1];
}

// The nearest rows of each query, [queries][k].
struct Found {
  std::vector<double> distance;
  std::vector<int64_t> index;
};

bool is_related(const Attack& attack, int64_t i, int64_t j) {
  if (i == j || attack.relation == Relation::any) return i != j;
  const bool same = attack.codes[static_cast<size_t>(i)] == attack.codes[static_cast<size_t>(j)];
  return same == (attack.relation == Relation::friendly);
}

// A row as it is searched for.
std::vector<double> query_of(const Attack& attack, int64_t i) {
  std::vector<double> query(attack.x.row(i), attack.x.row(i) + attack.x.d);
  if (attack.stretch == 1.0) return query;
  for (double& v : query) v = static_cast<float>(v * attack.stretch);
  return query;
}

Found expected(const Attack& attack) {
  const Matrix& x = attack.x;
  Found found;
  std::vector<std::pair<double, int64_t>> all;
  for (int64_t i = 0; i < x.n; i += attack.every) {
    const std::vector<double> query = query_of(attack, i);
    all.assign(static_cast<size_t>(attack.k), {std::numeric_limits<double>::infinity(), -1});
    for (int64_t j = 0; j < x.n; ++j) {
      if (!is_related(attack, i, j)) continue;
      const std::pair<double, int64_t> next{contract_distance(query.data(), x.row(j), x.d), j};
      if (next.first >= all.back().first) continue;  // rows come in order
      all.back() = next;
      std::inplace_merge(all.begin(), all.end() - 1, all.end());
    }
    for (const auto& [distance, row] : all) {
      found.distance.push_back(distance);
      found.index.push_back(row);
    }
  }
  return found;
}

// A caller who has subnormal numbers taken for zero, as some do for speed.
class FlushedToZero {
 public:
#if defined(__SSE2__)
  FlushedToZero() { __builtin_ia32_ldmxcsr(before_ | 0x8040); }
  ~FlushedToZero() { __builtin_ia32_ldmxcsr(before_); }

 private:
  unsigned before_ = __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
  FlushedToZero() { set(before_ | 1ull << 24); }
  ~FlushedToZero() { set(before_); }

 private:
  static uint64_t get() {
    uint64_t fpcr = 0;
    asm volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
  }
  static void set(uint64_t fpcr) { asm volatile("msr fpcr, %0" : : "r"(fpcr)); }

  uint64_t before_ = get();
#endif
};

// For the first `most` queries, by an index that expects as many.
template <typename T>
Found search(const Attack& attack, int64_t most, int threads) {
  const Matrix& x = attack.x;
  const DType dtype = sizeof(T) == 8 ? DType::float64 : DType::float32;
  const std::vector<T> values(x.values.begin(), x.values.end());
  std::vector<T> queries;
  std::vector<int64_t> own, codes;
  double largest = 0.0;
  for (const double v : x.values) largest = std::max(largest, std::abs(v));
  for (int64_t i = 0; i < x.n && static_cast<int64_t>(own.size()) < most; i += attack.every) {
    own.push_back(i);
    const std::vector<double> query = query_of(attack, i);
    queries.insert(queries.end(), query.begin(), query.end());
    if (!attack.codes.empty()) codes.push_back(attack.codes[static_cast<size_t>(i)]);
  }
  const auto n_queries = static_cast<int64_t>(own.size());
  Found found{std::vector<double>(own.size() * static_cast<size_t>(attack.k)), {}};
  found.index.resize(found.distance.size());
  const int64_t rank = static_cast<int64_t>(attack.basis.size()) / x.d;
  const bool labelled = !codes.empty();
  Interrupt interrupt;
  const FlushedToZero caller;
  const NeighborIndex built({values.data(), x.n, x.d, dtype}, largest,
                            labelled ? attack.codes.data() : nullptr, labelled ? 3 : 0,
                            Metric::sqeuclidean, Basis{attack.basis.data(), rank}, {most},
                            Resources{}, interrupt);
  built.search(
      {{queries.data(), n_queries, x.d, dtype}, labelled ? codes.data() : nullptr, own.data()},
      attack.k, attack.relation, Resources{threads}, interrupt,
      {found.distance.data(), found.index.data(), true});
  return found;
}

// Whether all that is found is right, for many queries and for few, which are searched differently.
bool is_found(const Attack& attack, const Found& right) {
  constexpr int64_t kAll = 1 << 20, kFew = 4;
  for (const auto& [most, threads] : {std::pair{kAll, 1}, {kFew, 1}, {kFew, 3}}) {
    const Found found = attack.x.wide ? search<double>(attack, most, threads)
                                      : search<float>(attack, most, threads);
    if (!std::equal(found.index.begin(), found.index.end(), right.index.begin())) return false;
    if (!std::equal(found.distance.begin(), found.distance.end(), right.distance.begin()))
      return false;
  }
  return true;
}

}  // namespace

// In place of the choice by processor.
const Kernels& kernels() { return *chosen; }
bool isa_is_given() { return true; }

}  // namespace expansive

int main(int argc, char** argv) {
  using namespace expansive;
  if (argc > 1) expansive_mutant = std::atoi(argv[1]);
  int failures = 0;
  std::vector<Attack> attacks = packed_attacks();
  for (const auto& more : {attacks_on_few(), attacks_on_bytes()}) {
    attacks.insert(attacks.end(), more.begin(), more.end());
  }
  for (const Attack& attack : attacks) {
    const Found right = expected(attack);
    for (const Kernels* table : tables()) {
      chosen = table;
      if (is_found(attack, right)) continue;
      std::printf("%s: %s\n", table->name, attack.name);
      ++failures;
      if (argc < 3) return 1;
    }
  }
  return failures > 0 ? 1 : 0;
}
