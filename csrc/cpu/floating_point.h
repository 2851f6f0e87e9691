// The floating-point environment the contract is written in: IEEE, to nearest even, subnormals
// kept.
#pragma once

#include <cfenv>

namespace expansive {

// While one lives, this thread computes under the default environment, whatever flags (flush to
// zero, rounding mode) the caller has set; then the caller's are back.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatingPoint() { std::fesetenv(&saved_); }
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace expansive
