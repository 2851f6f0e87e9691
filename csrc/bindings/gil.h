// Work without Python's lock, also in a thread that outlives the interpreter.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace expansive {

// Python before 3.14 ends a thread that wants the lock of an ending interpreter by unwinding it,
// which C++ frames do not let through. Such a thread waits for the end of the process instead, as
// it does from 3.14 on.
template <typename Take>
void take_gil(const Take& take) {
  try {
    take();
  } catch (...) {
    while (true) pause();
  }
}

class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    take_gil([this] { PyEval_RestoreThread(state_); });
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

// Whether a signal handler of Python's raised something, such as KeyboardInterrupt.
inline bool signal_raised() {
  PyGILState_STATE state{};
  take_gil([&] { state = PyGILState_Ensure(); });
  const bool raised = PyErr_CheckSignals() != 0;
  PyGILState_Release(state);
  return raised;
}

}  // namespace expansive
