// Where the CUDA screen puts its tiles in shared memory and registers, for cuda_host.cpp: ldmatrix
// and mma are imitated by the layouts of the PTX ISA.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cpu/half.h"
#include "cuda/fragments.h"
#include "cuda/tiles.h"

namespace expansive::cuda {
namespace {

[[noreturn]] void fail(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::exit(1);
}
void require(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

using Fragment = std::vector<uint32_t>;  // [lane][register]

// ldmatrix.x4: lanes 8m .. 8m + 7 name the lines of matrix m; lane t gets elements 2 (t % 4) and
// the next of line t / 4 of each.
Fragment load_matrices(const std::vector<unsigned char>& memory,
                       const std::function<Part(int)>& part_of) {
  Fragment fragment(32 * 4);
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      const int at = offset_of(part_of(8 * matrix + lane / 4)) + lane % 4 * 4;
      std::memcpy(&fragment[static_cast<size_t>(lane * 4 + matrix)],
                  &memory[static_cast<size_t>(at)], 4);
    }
  }
  return fragment;
}

float element(uint32_t two, int which) {
  return to_float(BFloat16{static_cast<uint16_t>(which == 0 ? two : two >> 16)});
}

std::vector<unsigned char> copy_to_shared(const std::vector<uint16_t>& images) {
  std::vector<unsigned char> memory(kTileBytes, 0xAB);
  std::vector<int> written(kTileBytes / kPartBytes, 0);
  for (int thread = 0; thread < kScreenThreads; ++thread) {
    for (int i = 0; i < kCopies; ++i) {
      const Part part = part_to_copy(thread, i);
      std::memcpy(&memory[static_cast<size_t>(offset_of(part))],
                  &images[static_cast<size_t>(part.line * kStep + part.part * 8)], kPartBytes);
      ++written[static_cast<size_t>(offset_of(part) / kPartBytes)];
    }
  }
  for (const int times : written) require(times == 1, "a part is not copied exactly once");
  return memory;
}

void check_banks(const std::function<Part(int)>& part_of) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    unsigned used = 0;
    for (int line = 0; line < 8; ++line) {
      used |= 1u << (offset_of(part_of(8 * matrix + line)) % 128 / 16);
    }
    require(used == 0xFFu, "ldmatrix has a bank conflict");
  }
}

// Multiplies 128 x 32 by 32 x 128 small integers through shared memory and fragments.
void check_fragments() {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> small(-4, 4);
  std::vector<uint16_t> queries(kBlockQueries * kStep), rows(kBlockRows * kStep);
  const auto fill = [&](std::vector<uint16_t>& images) {
    for (uint16_t& bits : images) {
      BFloat16 value;
      from_float(static_cast<float>(small(random)), &value);
      bits = value.bits;
    }
  };
  fill(queries);
  fill(rows);
  const auto shared_queries = copy_to_shared(queries), shared_rows = copy_to_shared(rows);
  std::vector<int> seen(kBlockQueries * kBlockRows, 0);
  for (int warp = 0; warp < kScreenThreads / 32; ++warp) {
    const int warp_query = warp % 2 * kWarpQueries, warp_row = warp / 2 * kWarpRows;
    for (int m = 0; m < kFragmentsM; ++m) {
      for (int n = 0; n < kFragmentsN; ++n) {
        std::vector<float> sums(32 * 4, 0.0f);
        for (int half = 0; half < kStep / 16; ++half) {
          const auto query_at = [&](int lane) {
            return query_part(lane, warp_query + 16 * m, half);
          };
          const auto row_at = [&](int lane) {
            return row_part(lane, warp_row + 16 * (n / 2), half);
          };
          check_banks(query_at);
          check_banks(row_at);
          const Fragment a = load_matrices(shared_queries, query_at);
          const Fragment b = load_matrices(shared_rows, row_at);
          // mma.m16n8k16: who holds which element, from the PTX ISA.
          for (int lane = 0; lane < 32; ++lane) {
            for (int i = 0; i < 4; ++i) {
              const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
              require(row == sum_query(lane, i) && column == sum_row(lane, i), "place of a sum");
              for (int k = 0; k < 16; ++k) {
                const int holder_a = row % 8 * 4 + k % 8 / 2, register_a = row / 8 + 2 * (k / 8);
                const int holder_b = column * 4 + k % 8 / 2, register_b = n % 2 * 2 + k / 8;
                sums[static_cast<size_t>(lane * 4 + i)] +=
                    element(a[static_cast<size_t>(holder_a * 4 + register_a)], k % 2) *
                    element(b[static_cast<size_t>(holder_b * 4 + register_b)], k % 2);
              }
            }
          }
        }
        for (int lane = 0; lane < 32; ++lane) {
          for (int i = 0; i < 4; ++i) {
            const int query = warp_query + 16 * m + sum_query(lane, i);
            const int row = warp_row + 8 * n + sum_row(lane, i);
            float expected = 0.0f;
            for (int j = 0; j < kStep; ++j) {
              expected += to_float(BFloat16{queries[static_cast<size_t>(query * kStep + j)]}) *
                          to_float(BFloat16{rows[static_cast<size_t>(row * kStep + j)]});
            }
            require(sums[static_cast<size_t>(lane * 4 + i)] == expected, "a product is wrong");
            ++seen[static_cast<size_t>(query * kBlockRows + row)];
          }
        }
      }
    }
  }
  for (const int times : seen) require(times == 1, "a product is not made exactly once");
  std::printf("fragments: ok\n");
}

}  // namespace
}  // namespace expansive::cuda
