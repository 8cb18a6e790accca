// A bounded pool for blocking work, and the strand that owns a daemon's logic.
//
// WorkerPool: submit() from any thread; false when the queue is full or the pool stops (counted by the
// caller). Strand: one thread runs posted closures in order and a wake-up function at its deadline. post()
// from any thread. stop(): what is queued in a pool is dropped, what runs is waited for; a strand runs what
// was posted before stop().
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/bounds.h"
#include "core/time.h"

namespace skep::shell {

using Work = std::function<void()>;

class WorkerPool {
 public:
  WorkerPool(std::string name, int threads, std::size_t max_queued = bounds::max_events_queued);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  [[nodiscard]] bool submit(Work work);
  void stop();

 private:
  void run();
  std::string name_;
  std::size_t max_queued_;
  std::mutex lock_;  // guards queue_ and is_stopping_
  std::condition_variable wake_;
  std::deque<Work> queue_;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

class Strand {
 public:
  /// on_deadline runs on the strand when the instant that next_deadline gave has come; next_deadline is asked
  /// after every closure.
  Strand(std::string name, std::function<std::optional<Instant>()> next_deadline, Work on_deadline);
  ~Strand();
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;

  void start();
  /// False when the strand stops, or its bounded queue is full.
  bool post(Work work);
  /// As post(), but runs before everything that was posted otherwise: for the few things of which each
  /// millisecond counts. In the order of posting among themselves.
  bool post_urgent(Work work);
  /// Runs `work` on the strand not before `due`.
  bool post_at(Instant due, Work work);
  void stop();
  bool is_current() const;

 private:
  bool put(std::deque<Work>& lane, Work work);
  void run();
  std::string name_;
  std::function<std::optional<Instant>()> next_deadline_;
  Work on_deadline_;
  std::mutex lock_;  // guards urgent_, queue_, timers_ and is_stopping_
  std::condition_variable wake_;
  std::deque<Work> urgent_;
  std::deque<Work> queue_;
  std::multimap<Instant, Work> timers_;
  bool is_stopping_ = false;
  std::thread thread_;
};

/// Runs work; an exception that leaves it is a bug: logged to stderr with the thread's name, then the process
/// aborts.
void run_guarded(const std::string& thread_name, const Work& work) noexcept;

}  // namespace skep::shell
