// agentd's shell in this process, over a host in memory and a state folder that outlive it.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "agentd/shell/daemon.h"
#include "tests/integration/agentd/memory_driver.h"
#include "tests/integration/agentd/support.h"

namespace skep::test {

struct Fixture {
  TempFolder folder;
  std::shared_ptr<MemoryHost> host = std::make_shared<MemoryHost>();
  agentd::AgentdConfig config;
  MemoryDriver* driver = nullptr;
  std::unique_ptr<agentd::Daemon> daemon;
  std::unique_ptr<Api> api;

  Fixture() {
    config.logic.host = HostId("h1");
    config.logic.version = "test";
    config.logic.capacity = Resources{8000, 8LL << 30, 0, {}};
    config.registry.type = agentd::RegistryConfig::Type::none;
    config.state_dir = folder.path("state");
  }

  void launch() {
    auto made_driver = std::make_unique<MemoryDriver>(host);
    driver = made_driver.get();
    std::vector<std::unique_ptr<drivers::Driver>> drivers;
    drivers.push_back(std::move(made_driver));
    auto made = agentd::Daemon::make(config, std::move(drivers));
    if (!made) FAIL(made.error().message);
    daemon = std::move(*made);
    const auto started = daemon->start();
    if (!started) FAIL(started.error().message);
  }

  /// Launches, and waits until it knows what its host holds.
  void start() {
    launch();
    api = std::make_unique<Api>(daemon->url());
    REQUIRE(wait_until([this] {
      const auto report = api->report();
      return report && !report->drivers.empty() && api->destroy("never-seen", 1).status != 503;
    }));
  }

  void stop() {
    daemon->request_stop(agentd::OnStop::keep);
    daemon->wait_until_ready_to_end(seconds(3));
    daemon->stop();
    daemon.reset();
  }
};

}  // namespace skep::test
