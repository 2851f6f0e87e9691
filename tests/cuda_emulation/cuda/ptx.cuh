// The instructions of pass A on the host, by the layouts of the PTX ISA. Copies arrive when they
// are waited for and not before; sums are cut as coarsely as the bounds allow for.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

namespace expansive::cuda {
namespace {

using SharedAddress = uintptr_t;

inline SharedAddress shared_address(const void* pointer) {
  return reinterpret_cast<SharedAddress>(pointer);
}

struct Copy {
  SharedAddress to;
  const uint16_t* from;
};
// What a thread asks for in groups, and what is done with a group when it is waited for.
template <typename Request>
class Groups {
 public:
  void ask(const Request& request) { open_.push_back(request); }
  void commit() {
    committed_.push_back(std::move(open_));
    open_.clear();
  }
  template <typename Work>
  void await(size_t pending, const Work& work) {
    while (committed_.size() > pending) {
      for (const Request& request : committed_.front()) work(request);
      committed_.pop_front();
    }
  }

 private:
  std::vector<Request> open_;
  std::deque<std::vector<Request>> committed_;
};
template <typename Request>
Groups<Request>& groups() {
  static Groups<Request> of_threads[1024];
  return of_threads[emulation::here.thread.x];
}

inline void copy_part(SharedAddress to, const uint16_t* from) { groups<Copy>().ask({to, from}); }
inline void commit_copies() { groups<Copy>().commit(); }
template <int kPending>
void await_copies() {
  groups<Copy>().await(kPending, [](const Copy& copy) {
    std::memcpy(reinterpret_cast<void*>(copy.to), copy.from, 16);
  });
}

inline void load_fragments(uint32_t (&fragment)[4], SharedAddress address) {
  const unsigned lane = emulation::lane();
  std::memcpy(emulation::exchange_slot(lane), &address, sizeof address);
  emulation::await_warp();
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    SharedAddress line;
    std::memcpy(&line, emulation::exchange_slot(8 * matrix + lane / 4), sizeof line);
    std::memcpy(&fragment[matrix], reinterpret_cast<const char*>(line) + lane % 4 * 4, 4);
  }
  emulation::await_warp();
}

inline double cut(double value, double largest) {
  const double unit = std::ldexp(1.0, std::ilogb(largest) - 23);
  return std::trunc(value / unit) * unit;
}

inline double element(uint32_t two, int which) {
  const uint32_t bits = which == 0 ? two << 16 : two & 0xFFFF0000u;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return static_cast<double>(value);
}

inline float add_products(float sum, const double* products) {
  double largest = std::fabs(static_cast<double>(sum));
  for (int i = 0; i < 16; ++i) largest = std::max(largest, std::fabs(products[i]));
  if (largest == 0.0) return 0.0f;
  double total = cut(sum, largest);
  for (int i = 0; i < 16; ++i) total += cut(products[i], largest);
  return total == 0.0 ? 0.0f : static_cast<float>(cut(total, total));
}

inline void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const unsigned lane = emulation::lane();
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  std::memcpy(emulation::exchange_slot(lane), mine, sizeof mine);
  emulation::await_warp();
  const auto held = [](unsigned holder, unsigned number) {
    uint32_t value;
    std::memcpy(&value, emulation::exchange_slot(holder) + 4 * number, sizeof value);
    return value;
  };
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
    double products[16];
    for (unsigned k = 0; k < 16; ++k) {
      const uint32_t from_a = held(row % 8 * 4 + k % 8 / 2, row / 8 + 2 * (k / 8));
      const uint32_t from_b = held(column * 4 + k % 8 / 2, 4 + k / 8);
      products[k] = element(from_a, k % 2) * element(from_b, k % 2);
    }
    sum[i] = add_products(sum[i], products);
  }
  emulation::await_warp();
}

inline float larger(float a, float b) { return a != a || b != b ? NAN : a > b ? a : b; }

}  // namespace
}  // namespace expansive::cuda
