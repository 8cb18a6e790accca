// The line to one controller's companion: a thread that asks, waits and asks again. Each answer becomes one
// event; which one is believed, and what is done while there is none, the logic decides.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "scheduler/core/events.h"
#include "scheduler/jenkins/jenkins_controller.h"

namespace skep::scheduler {

class CompanionLine {
 public:
  /// `controller` outlives the line. `on_event` is called on the line's thread, and on that of who calls
  /// remove().
  CompanionLine(ControllerId name, JenkinsController& controller, std::function<void(Event)> on_event);
  ~CompanionLine();
  CompanionLine(const CompanionLine&) = delete;
  CompanionLine& operator=(const CompanionLine&) = delete;

  void start();
  /// A question under way ends when the controller's calls are cancelled, which is its owner's part.
  void stop();

  /// An operator wants it out of the controller. Blocking: a call to the controller. Whatever comes of it,
  /// the line asks no more until resume(), so that it is not put back. conflict: it is being removed already.
  Result<void> remove();
  /// Asks again, for a base first. conflict: it is being removed.
  Result<void> resume();

 private:
  void run();
  bool rest(bool may_be_back);
  bool pause_for(Duration time);

  const ControllerId name_;
  JenkinsController& controller_;
  const std::function<void(Event)> on_event_;
  std::atomic<bool> is_stopping_{false};
  std::atomic<bool> is_paused_{false};      // by an operator; written with lock_
  std::atomic<std::uint64_t> removals_{0};  // begun so far; written with lock_, after is_paused_
  std::mutex lock_;           // with wake_: interrupts pause_for() and rest(); guards what follows
  bool is_removing_ = false;  // remove() is under way
  bool is_poked_ = false;     // ends pause_for()
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace skep::scheduler
