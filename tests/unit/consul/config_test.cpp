// The registry section of both configurations: what is taken, and what a mistake is told.
#include <catch2/catch.hpp>

#include "agentd/shell/config_file.h"
#include "core/url.h"
#include "scheduler/shell/config_file.h"

namespace config_test {

using namespace skep;

namespace {

Result<scheduler::FileConfig> scheduler_with(const std::string& registry) {
  return scheduler::parse_config_text(
      "state_dir: /s\ncontrollers: [{name: main, url: 'https://j.example/'}]\n"
      "templates: [{name: linux, labels: [linux]}]\n" +
          registry,
      "s.yaml");
}

Result<agentd::AgentdConfig> agentd_with(const std::string& more) {
  return agentd::parse_config_text("host: h1\nstate_dir: /s\n" + more, "a.yaml");
}

bool tells(const std::string& message, const std::string& part) {
  INFO(message);
  return message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the consul registry has defaults and takes all its keys", "[unit][consul]") {
  const auto plain = scheduler_with("registry: {type: consul}\n");
  REQUIRE(plain);
  CHECK(plain->registry.type == scheduler::RegistryConfig::Type::consul);
  CHECK(plain->registry.consul.address == "http://127.0.0.1:8500/");
  CHECK(plain->registry.consul_service == "skep-agentd");
  const auto full = agentd_with(
      "registry:\n  type: consul\n  address: https://consul.example:8501\n  token_file: /t\n  ca_file: /c\n"
      "  service: farm2-agentd\n  ttl: 30s\n");
  REQUIRE(full);
  CHECK(full->registry.type == agentd::RegistryConfig::Type::consul);
  CHECK(full->registry.consul_address == "https://consul.example:8501/");
  CHECK(full->registry.consul_token_file == "/t");
  CHECK(full->registry.consul_ca_file == "/c");
  CHECK(full->registry.consul_service == "farm2-agentd");
  CHECK(full->registry.ttl == seconds(30));
}

TEST_CASE("mistakes in the registry section are told with line and key", "[unit][consul]") {
  const auto wrong = [](const std::string& registry) { return scheduler_with(registry).error().message; };
  CHECK(tells(wrong("registry:\n  type: etcd\n"), "s.yaml:5"));
  CHECK(tells(wrong("registry:\n  type: etcd\n"), "registry.type"));
  CHECK(tells(wrong("registry:\n  type: consul\n  adress: 'http://127.0.0.1:8500'\n"), "address"));
  CHECK(tells(wrong("registry:\n  type: consul\n  address: consul:8500\n"), "registry.address"));
  CHECK(tells(wrong("registry:\n  type: consul\n  address: ''\n"), "registry.address"));
  CHECK(tells(wrong("registry:\n  type: consul\n  address: 'http://10.0.0.1:8500/'\n"), "allow_http"));
  CHECK(tells(wrong("registry:\n  type: consul\n  address: 'http://u:p@127.0.0.1:8500/'\n"), "token_file"));
  CHECK(tells(wrong("registry:\n  type: consul\n  service: 'a/b'\n"), "registry.service"));
  CHECK(
      tells(wrong("registry:\n  type: embedded\n  address: 'http://127.0.0.1:8500/'\n"), "registry.address"));
  CHECK(scheduler_with("registry: {type: consul, address: 'http://10.0.0.1:8500/', allow_http: true}\n"));
}

TEST_CASE("agentd must know an address that others can use", "[unit][consul]") {
  const std::string consul = "registry: {type: consul}\n";
  CHECK(agentd_with(consul));
  CHECK(tells(agentd_with(consul + "listen: '0.0.0.0:7071'\n").error().message, "advertise_url"));
  CHECK(tells(agentd_with(consul + "advertise_url: 'h1:7071'\n").error().message, "advertise_url"));
  CHECK(agentd_with(consul + "listen: '0.0.0.0:7071'\nadvertise_url: 'https://h1.example:7071/'\n"));
}

TEST_CASE("a leader lock has a key per farm, and needs Consul", "[unit][consul]") {
  const std::string consul = "registry: {type: consul}\n";
  CHECK(scheduler_with(consul)->leader_lock.key.empty());
  CHECK(scheduler_with(consul + "leader_lock: {}\n")->leader_lock.key == "skep/skep/leader");
  CHECK(scheduler_with(consul + "farm: big\nleader_lock: {}\n")->leader_lock.key == "skep/big/leader");
  CHECK(scheduler_with(consul + "leader_lock: {key: data/lead, ttl: 10s}\n")->leader_lock.ttl == seconds(10));
  CHECK(tells(scheduler_with("leader_lock: {}\n").error().message, "registry: {type: consul}"));
  CHECK(tells(scheduler_with(consul + "leader_lock: {key: 'a?b'}\n").error().message, "leader_lock.key"));
  CHECK(tells(scheduler_with(consul + "leader_lock: {ttl: 1s}\n").error().message, "leader_lock.ttl"));
}

TEST_CASE("a change of the registry needs a restart", "[unit][consul]") {
  const auto before = scheduler_with("registry: {type: consul}\n").value();
  const auto after = scheduler_with("registry: {type: consul, token_file: /t}\n").value();
  CHECK(scheduler::keys_that_need_a_restart(before, after) == std::vector<std::string>{"registry"});
  CHECK(scheduler::keys_that_need_a_restart(before, before).empty());
}

TEST_CASE("addresses are split as they are meant", "[unit][consul]") {
  struct Case {
    std::string url, host;
    int port;
  };
  for (const Case& c :
       {Case{"http://127.0.0.1:8500/", "127.0.0.1", 8500}, Case{"https://h1.example", "h1.example", 443},
        Case{"http://h1/x:9/", "h1", 80}, Case{"http://[::1]:7071/", "::1", 7071}}) {
    INFO(c.url);
    const auto parts = split_url(c.url);
    REQUIRE(parts);
    CHECK(parts->host == c.host);
    CHECK(parts->port == c.port);
  }
  for (const char* url : {"", "h1:80", "ftp://h1/", "http://", "http:///x", "http://u@h1/", "http://h1:0/",
                          "http://h1:65536/", "http://h1:/", "http://h1:8x/", "http://[::1/",
                          "http://h1:123456789/", "http://h1/a b", "http://h1/\n"}) {
    INFO(url);
    CHECK_FALSE(split_url(url));
  }
}

TEST_CASE("a name that only begins like this machine is another machine", "[unit][consul]") {
  CHECK(tells(
      scheduler_with("registry: {type: consul, address: 'http://127.0.0.1.example:8500/'}\n").error().message,
      "allow_http"));
  CHECK(tells(
      scheduler_with("registry: {type: consul, address: 'http://localhost.example:8500/'}\n").error().message,
      "allow_http"));
}

}  // namespace config_test
