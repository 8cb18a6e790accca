// Bodies of a controller's queue reply, written as Jenkins writes them, and a client that gives them.
#pragma once

#include <memory>
#include <string>

#include "common/http/http_client.h"
#include "scheduler/core/facts.h"

namespace skep::bench {

/// As /queue/api/json?tree=... answers for these items.
std::string queue_body(const scheduler::QueueSnapshot& queue);

/// Answers every request with the body it was given last.
class CannedClient : public http::Client {
 public:
  explicit CannedClient(std::shared_ptr<std::string> body) : body_(std::move(body)) {}
  Result<http::Reply> call(const http::Request& request, std::optional<Duration> total_timeout) override;
  void cancel() override {}

 private:
  std::shared_ptr<std::string> body_;
};

}  // namespace skep::bench
