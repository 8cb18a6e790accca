// SIGTERM, SIGINT and SIGHUP as values that one thread waits for. Make it before any other thread exists, so that all
// inherit the blocked mask. Linux only.
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
  std::optional<Signal> wait_for(Duration time);
  /// Wakes wait() from any thread with Signal::self.
  void interrupt();

 private:
  int event_ = -1;
  int signals_ = -1;
};

}  // namespace skep::posix_host
