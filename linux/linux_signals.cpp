#include "linux/linux_signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

#include "core/check.h"

namespace skep::posix_host {

SignalWaiter::SignalWaiter() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  SKEP_ASSERT(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  std::signal(SIGPIPE, SIG_IGN);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC);
  event_ = eventfd(0, EFD_CLOEXEC);
  SKEP_ASSERT(signals_ >= 0 && event_ >= 0);
}

SignalWaiter::~SignalWaiter() {
  ::close(signals_);
  ::close(event_);
}

std::optional<Signal> SignalWaiter::wait_for(Duration time) {
  pollfd fds[2] = {{signals_, POLLIN, 0}, {event_, POLLIN, 0}};
  const int ready =
      ::poll(fds, 2, time.count() < 0 ? -1 : static_cast<int>(to_ms(time + milliseconds(1) - Duration(1))));
  if (ready <= 0) return std::nullopt;
  if ((fds[1].revents & POLLIN) != 0) {
    std::uint64_t taken = 0;
    return ::read(event_, &taken, sizeof taken) > 0 ? std::optional(Signal::self) : std::nullopt;
  }
  signalfd_siginfo info{};
  if (::read(signals_, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  if (info.ssi_signo == SIGHUP) return Signal::hang_up;
  return info.ssi_signo == SIGINT ? Signal::interrupt : Signal::terminate;
}

Signal SignalWaiter::wait() {
  for (;;) {
    if (const auto signal = wait_for(Duration(-1))) return *signal;
  }
}

void SignalWaiter::interrupt() {
  const std::uint64_t one = 1;
  const ssize_t written = ::write(event_, &one, sizeof one);
  static_cast<void>(written);
}

}  // namespace skep::posix_host
