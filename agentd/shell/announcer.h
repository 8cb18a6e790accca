// Keeps this host known to a registry: announces it every third of the ttl, takes it off at the end. A
// registry that is away is asked again with growing pauses, at most a third of the ttl; one log line per
// cause and minute. Nothing else of agentd waits for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "agentd/shell/registry_line.h"
#include "common/log/log.h"

namespace skep::agentd {

class Announcer {
 public:
  Announcer(std::unique_ptr<RegistryLine> line, HostId host, Duration ttl);
  ~Announcer();
  Announcer(const Announcer&) = delete;
  Announcer& operator=(const Announcer&) = delete;
  void start();
  /// Ends a running call, then withdraws the host: within two seconds or so.
  void stop();
  /// The registry took the last announcement.
  bool is_known() const { return is_known_; }

 private:
  void run();

  std::unique_ptr<RegistryLine> line_;
  HostId host_;
  Duration ttl_;
  log::OncePerMinute limiter_;
  std::mutex lock_;  // guards is_stopping_
  std::condition_variable wake_;
  bool is_stopping_ = false;
  std::atomic<bool> is_known_{false};
  std::thread thread_;
};

}  // namespace skep::agentd
