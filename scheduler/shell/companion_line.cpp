#include "scheduler/shell/companion_line.h"

#include <algorithm>
#include <utility>

#include "common/shell/clock.h"

namespace skep::scheduler {
namespace {

// Below the 30 s after which Jenkins closes an idle connection, and below the 60 s of common proxies.
constexpr Duration longest_wait = seconds(30);
// Each answer costs the controller a compilation: what happens in a burst comes in few of them.
constexpr Duration burst = milliseconds(200), pace = milliseconds(20);
constexpr Duration first_retry = seconds(1), last_retry = seconds(15);
constexpr Duration rights_retry = minutes(1);

}  // namespace

CompanionLine::CompanionLine(ControllerId name, JenkinsController& controller,
                             std::function<void(Event)> on_event)
    : name_(std::move(name)), controller_(controller), on_event_(std::move(on_event)) {}

CompanionLine::~CompanionLine() {
  stop();
}

void CompanionLine::start() {
  thread_ = std::thread([this] { run(); });
}

void CompanionLine::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CompanionLine::run() {
  Duration retry = first_retry;
  while (!is_stopping_) {
    const Instant started = shell::now();
    auto answer = controller_.ask_companion(longest_wait);
    if (is_stopping_) return;
    if (!answer) {
      const bool may_not = answer.error().code == ErrorCode::permission_denied;
      on_event_(CompanionLost{name_, answer.error()});
      if (!pause_for(may_not ? rights_retry : retry)) return;
      retry = std::min(2 * retry, last_retry);
      continue;
    }
    retry = first_retry;
    on_event_(CompanionTold{name_, controller_.session(), started, std::move(answer->queue),
                            std::move(answer->nodes), answer->is_base});
    if (shell::now() - started < burst && !pause_for(pace)) return;
  }
}

/// False: the line ends.
bool CompanionLine::pause_for(Duration time) {
  std::unique_lock<std::mutex> guard(lock_);
  return !wake_.wait_for(guard, time, [this] { return is_stopping_.load(); });
}

}  // namespace skep::scheduler
