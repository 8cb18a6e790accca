// The embedded registry: agentd announces itself with PUT /v1/hosts/{id} at our own API.
#pragma once

#include <memory>
#include <mutex>

#include "common/http/http_server.h"
#include "scheduler/shell/config_file.h"
#include "scheduler/shell/registry.h"

namespace skep::scheduler {

class EmbeddedRegistry : public Registry {
 public:
  explicit EmbeddedRegistry(http::Server& server);
  void start(OnHost on_host) override;
  void stop() override;
  std::string problem() const override { return ""; }

 private:
  struct Shared {
    std::mutex lock;  // guards on_host
    OnHost on_host;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();  // the server's handlers may outlive us
};

/// The registry that the configuration names. Call before the server starts: it may add routes.
std::unique_ptr<Registry> make_registry(const RegistryConfig& config, http::Server& server);

}  // namespace skep::scheduler
