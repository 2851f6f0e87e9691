// How a long call is stopped from outside: the calling thread polls, every thread obeys.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <utility>

namespace expansive {

struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

class Interrupt {
 public:
  // `requested` is asked on the calling thread alone, at most once in 50 ms.
  explicit Interrupt(std::function<bool()> requested = nullptr)
      : requested_(std::move(requested)) {}

  // Called often by every worker; worker 0 is the calling thread. Throws Interrupted.
  void check(int worker) {
    if (worker == 0 && requested_) poll();
    if (stopped_.load(std::memory_order_relaxed)) throw Interrupted();
  }

 private:
  void poll() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    if (requested_()) stopped_.store(true, std::memory_order_relaxed);
  }

  std::function<bool()> requested_;
  std::chrono::steady_clock::time_point last_{};
  std::atomic<bool> stopped_{false};
};

}  // namespace expansive
