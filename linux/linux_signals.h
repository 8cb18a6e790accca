// SIGTERM, SIGINT and SIGHUP as values that one thread waits for. Make it before any other thread exists, so
// that all inherit the blocked mask. Linux only.
#pragma once

#include <optional>

#include "core/time.h"

namespace skep::posix_host {

enum class Signal { terminate, interrupt, hang_up, self };

class SignalWaiter {
 public:
  SignalWaiter();
  ~SignalWaiter();
  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;
  Signal wait();
  /// Negative: for ever. Rounded up to whole milliseconds.
  std::optional<Signal> wait_for(Duration time);
  /// Wakes wait() once from any thread with Signal::self; also the next wait(), when none is under way.
  void interrupt();
  /// Readable when a signal waits; for poll() together with other descriptors.
  int descriptor() const { return signals_; }

 private:
  int event_ = -1;
  int signals_ = -1;
};

}  // namespace skep::posix_host
