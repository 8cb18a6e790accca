// Embedded registry: tells the scheduler every third of the ttl where this agentd is (PUT v1/hosts/{id}).
// A scheduler that cannot be reached is asked again every second; one log line per cause and minute.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "agentd/core/config.h"
#include "common/http/http_client.h"
#include "common/log/log.h"
#include "core/protocol/agentd_api.h"

namespace skep::agentd {

class Announcer {
 public:
  /// Error invalid_input for an unusable address, CA or token file.
  static Result<std::unique_ptr<Announcer>> make(const RegistryConfig& registry,
                                                 HostAnnouncement announcement);
  ~Announcer();
  Announcer(const Announcer&) = delete;
  Announcer& operator=(const Announcer&) = delete;
  void start();
  void stop();

 private:
  Announcer(std::unique_ptr<http::Client> client, HostAnnouncement announcement, std::string peer);
  void run();
  /// nullopt: the scheduler knows us now.
  std::optional<Error> announce();

  std::unique_ptr<http::Client> client_;
  HostAnnouncement announcement_;
  std::string peer_;
  log::OncePerMinute limiter_;
  std::mutex lock_;  // guards is_stopping_
  std::condition_variable wake_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace skep::agentd
