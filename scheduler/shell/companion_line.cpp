#include "scheduler/shell/companion_line.h"

#include <algorithm>
#include <utility>

#include "common/shell/clock.h"

namespace skep::scheduler {
namespace {

// Below the 60 s of common proxies; Jenkins closes idle connections after 30 s, and one with a question is
// none.
constexpr Duration longest_wait = seconds(30);
// Each answer costs the controller a compilation: what happens in a burst comes in few of them.
constexpr Duration burst = milliseconds(200), pace = milliseconds(20);
constexpr Duration first_retry = seconds(1), last_retry = seconds(15);
constexpr Duration rights_retry = minutes(1);

Error removed_by_operator() {
  return Error::failed(ErrorCode::not_found,
                       "it was removed by an operator (skep controller companion --remove)");
}

/// What the operator was told of a removal that failed, for all who look.
Error not_removed(const Error& error) {
  return {
      error.code, error.outcome,
      "an operator had it removed, which failed: " + error.message + "; it may still be in the controller",
      error.hint};
}

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
  bool may_be_back = false;  // an installation was under way while it was removed
  while (!is_stopping_) {
    const std::uint64_t removals = removals_;  // before is_paused_ is looked at: a removal in between counts
    if (is_paused_) {
      if (!rest(std::exchange(may_be_back, false))) return;
      retry = first_retry;
      continue;
    }
    const Instant started = shell::now();
    auto answer = controller_.ask_companion(longest_wait);
    if (is_stopping_) return;
    if (removals != removals_) {  // what it told may be older than the removal
      may_be_back = answer ? answer->is_base : answer.error().code != ErrorCode::permission_denied;
      continue;
    }
    if (answer) {
      on_event_(CompanionTold{name_, controller_.session(), started, std::move(answer->queue),
                              std::move(answer->nodes), answer->is_base, answer->events});
    } else {
      on_event_(CompanionLost{name_, answer.error()});
    }
    if (removals != removals_) {  // remove() came in between: its word is the last one
      on_event_(CompanionLost{name_, removed_by_operator()});
      continue;
    }
    if (answer) {
      retry = first_retry;
      if (shell::now() - started < burst && !pause_for(pace)) return;
    } else {
      const bool may_not = answer.error().code == ErrorCode::permission_denied;
      if (!pause_for(may_not ? rights_retry : retry)) return;
      retry = std::min(2 * retry, last_retry);
    }
  }
}

Result<void> CompanionLine::remove() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (is_removing_)
      return Error::failed(ErrorCode::conflict,
                           "the companion of " + name_.text + " is being removed already");
    is_removing_ = true;
    is_paused_ = true;
    ++removals_;
  }
  // At once: the question under way may wait for half a minute yet.
  on_event_(CompanionLost{name_, removed_by_operator()});
  auto removed = controller_.remove_companion();
  if (!removed) on_event_(CompanionLost{name_, not_removed(removed.error())});
  const std::lock_guard<std::mutex> guard(lock_);
  is_removing_ = false;
  return removed;
}

Result<void> CompanionLine::resume() {
  controller_.rebase_companion();
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (is_removing_)
      return Error::failed(ErrorCode::conflict, "the companion of " + name_.text + " is being removed",
                           "say it again when that is over");
    is_paused_ = false;
    is_poked_ = true;
  }
  wake_.notify_all();
  return {};
}

/// Until resume(); false: the line ends. `may_be_back`: it is taken out once more, however often that takes.
bool CompanionLine::rest(bool may_be_back) {
  while (may_be_back && is_paused_) {
    const auto removed = controller_.remove_companion();
    if (is_stopping_) return false;
    if (is_paused_)
      on_event_(CompanionLost{name_, removed ? removed_by_operator() : not_removed(removed.error())});
    if (removed) break;
    if (!pause_for(last_retry)) return false;
  }
  std::unique_lock<std::mutex> guard(lock_);
  wake_.wait(guard, [this] { return is_stopping_ || !is_paused_; });
  return !is_stopping_;
}

/// False: the line ends.
bool CompanionLine::pause_for(Duration time) {
  std::unique_lock<std::mutex> guard(lock_);
  wake_.wait_for(guard, time, [this] { return is_stopping_ || is_poked_; });
  is_poked_ = false;
  return !is_stopping_;
}

}  // namespace skep::scheduler
