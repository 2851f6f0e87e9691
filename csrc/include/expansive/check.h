// Input checks that hold in release builds too: a failed one throws std::invalid_argument.
#pragma once

#include <stdexcept>
#include <string>

namespace expansive {

inline void check(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument(message);
}

}  // namespace expansive
