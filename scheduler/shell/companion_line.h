// The line to one controller's companion: a thread that asks, waits and asks again. Each answer becomes one event;
// which one is believed, and what is done while there is none, the logic decides.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "scheduler/core/events.h"
#include "scheduler/jenkins/jenkins_controller.h"

namespace skep::scheduler {

class CompanionLine {
 public:
  /// `controller` outlives the line. `on_event` is called on the line's thread.
  CompanionLine(ControllerId name, JenkinsController& controller, std::function<void(Event)> on_event);
  ~CompanionLine();
  CompanionLine(const CompanionLine&) = delete;
  CompanionLine& operator=(const CompanionLine&) = delete;

  void start();
  /// A question under way ends when the controller's calls are cancelled, which is its owner's part.
  void stop();

 private:
  void run();
  bool pause_for(Duration time);

  const ControllerId name_;
  JenkinsController& controller_;
  const std::function<void(Event)> on_event_;
  std::atomic<bool> is_stopping_{false};
  std::mutex lock_;  // with wake_: interrupts pause_for()
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace skep::scheduler
