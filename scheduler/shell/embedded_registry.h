// The embedded registry: agentd announces itself with PUT /v1/hosts/{id} at our own API.
#pragma once

#include <memory>
#include <mutex>

#include "common/http/http_server.h"
#include "scheduler/shell/registry.h"

namespace skep::scheduler {

class EmbeddedRegistry : public Registry {
 public:
  explicit EmbeddedRegistry(http::Server& server);
  void start(Listener listener) override;
  void stop() override;
  std::string kind() const override { return "embedded"; }
  std::string problem() const override { return ""; }

 private:
  struct Shared {
    std::mutex lock;  // guards on_host
    std::function<void(const HostEndpoint&)> on_host;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();  // the server's handlers may outlive us
};

}  // namespace skep::scheduler
