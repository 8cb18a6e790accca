// Which of several schedulers leads: the one whose session holds a key in Consul.
//
// The session ends when our service's TTL check is not passed in time. We count from when the last pass that
// was acknowledged was sent, which is before Consul counts from; so we know that we lost the lock before
// anybody else can have it, whether Consul can be reached or not. A lock that was lost is never held again by
// the same object.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/consul/consul_client.h"
#include "common/log/log.h"
#include "core/ids.h"
#include "scheduler/shell/config_file.h"

namespace skep::scheduler {

class LeaderLock {
 public:
  /// Error invalid_input for an unusable address, CA or token file.
  static Result<std::unique_ptr<LeaderLock>> make(const FileConfig& config);
  ~LeaderLock();
  LeaderLock(const LeaderLock&) = delete;
  LeaderLock& operator=(const LeaderLock&) = delete;

  /// `on_change` is called from a thread of its own when the lock is acquired or lost.
  void start(std::function<void()> on_change);
  bool is_held() const;
  bool is_lost() const;
  /// Until the lock counts as lost if nothing more is heard; zero when it is not held.
  Duration time_left() const;
  /// The number of a new term: at least `at_least`, above every number that was ever claimed under this key.
  Result<Epoch> claim_epoch(Epoch at_least);
  /// Gives the lock back, so that another need not wait. Blocks for some seconds at most.
  void stop();

 private:
  LeaderLock(const FileConfig& config, std::unique_ptr<consul::Client> client,
             std::unique_ptr<consul::Client> aside);
  void run();
  Result<void> step();
  Result<void> keep_alive();
  Result<void> try_acquire();
  Result<void> watch_held();
  void become(bool is_held, const std::string& why);
  bool is_held_locked() const;

  const std::string key_, holder_, service_, service_id_;
  const Duration ttl_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<consul::Client> aside_;  // for claims, and for what is said after client_ was cancelled
  std::function<void()> on_change_;
  log::OncePerMinute limiter_;
  // Touched by the thread only, and after it ended.
  bool is_registered_ = false;
  std::string session_;
  std::uint64_t index_ = 0;
  Duration pause_ = Duration::zero();

  mutable std::mutex lock_;  // guards what follows
  std::condition_variable wake_;
  Instant passed_{};  // when the last acknowledged pass was sent
  bool was_acquired_ = false;
  bool is_given_up_ = false;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace skep::scheduler
