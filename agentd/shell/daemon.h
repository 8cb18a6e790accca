// skep-agentd without its main(): logic on a strand, drivers on a pool, state in SQLite, the API over HTTP.
//
//   auto daemon = Daemon::make(config, drivers); daemon->start(); ... daemon->request_stop(OnStop::keep);
//   daemon->wait_until_ready_to_end(seconds(3)); daemon->stop();
// Executors outlive the daemon unless they are drained or removed. Public functions may be called from any
// thread, but start() and stop() from one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agentd/core/config.h"
#include "core/result.h"
#include "drivers/api/driver.h"

namespace skep::agentd {

namespace images {
class ImageStore;
}

class Daemon {
 public:
  /// Opens and reads the state. Errors name the file or address and what to do. `images`, which outlives the
  /// daemon, is started and stopped with it; nullptr: the host has no catalogue.
  static Result<std::unique_ptr<Daemon>> make(AgentdConfig config,
                                              std::vector<std::unique_ptr<drivers::Driver>> drivers,
                                              images::ImageStore* images = nullptr);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  Result<void> start();
  std::string url() const;  // after start()
  void request_stop(OnStop on_stop);
  /// False: driver calls, or executors that must go first, are still there after `limit`.
  bool wait_until_ready_to_end(Duration limit);
  /// Ends API and threads; waits for driver calls that are under way.
  void stop();
  /// For tests of a full disk: see StateStore::limit_size.
  Result<void> limit_state_size(std::int64_t bytes);

 private:
  struct Impl;
  explicit Daemon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::agentd
