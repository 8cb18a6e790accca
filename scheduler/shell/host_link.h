// The line to one agentd: a thread that waits for its next report by a blocking query, and calls for orders.
// Thread-safe. Nothing is retried here: the logic decides.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/http/http_client.h"
#include "common/json/json.h"
#include "core/protocol/agentd_api.h"
#include "scheduler/core/events.h"

namespace skep::scheduler {

struct HostLinkOptions {
  HostId host;
  std::string agentd_url;
  std::string bearer_token;
  std::string ca_file;
};

class HostLink {
 public:
  using OnEvent = std::function<void(Event)>;
  static Result<std::unique_ptr<HostLink>> create(HostLinkOptions options, OnEvent on_event);
  ~HostLink();

  Result<ExecutorReport> order(const ExecutorOrder& order);
  Result<ExecutorReport> destroy(const ExecutorId& executor, Epoch epoch);
  Result<LeaseReply> renew(const LeaseRenewal& renewal);
  /// agentd's image verbs (target below /v1/), which do no harm when they are sent twice; the answer as it
  /// came.
  Result<json::Json> images(const std::string& method, const std::string& target);
  /// Has an image fetched. What is wrong with it so far, as the host tells; not_found: its catalogue does not
  /// have it.
  Result<std::string> pull(const std::string& reference);
  /// Asks the host now, whatever the watch waits for: HostReported or HostUnseen. Blocks for some seconds.
  Event look();
  const std::string& url() const { return options_.agentd_url; }
  /// Ends the watch and running calls without waiting for the peer.
  void stop();

 private:
  HostLink(HostLinkOptions options, std::unique_ptr<http::Client> client, OnEvent on_event);
  void watch();
  Result<HostReport> read_report(std::uint64_t index, Duration wait, Duration limit);
  bool pause_for(Duration time);
  Result<HostReport> checked(Result<HostReport> report) const;

  HostLinkOptions options_;
  std::unique_ptr<http::Client> client_;
  OnEvent on_event_;
  std::atomic<bool> is_stopping_{false};
  std::mutex lock_;  // with wake_: interrupts pause_for()
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace skep::scheduler
