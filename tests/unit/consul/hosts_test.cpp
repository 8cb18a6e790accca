// From the catalogue to hosts, and back: what agentd writes is what the scheduler reads.
#include <catch2/catch.hpp>

#include "agentd/shell/registry_line.h"
#include "common/consul/consul_client.h"
#include "scheduler/shell/consul_registry.h"

namespace hosts_test {

using namespace skep;
using consul::Health;
using consul::Instance;

namespace {

Instance instance(const std::string& id, const std::string& host, Health health = Health::passing,
                  std::uint64_t modify_index = 10) {
  return {id,     "10.0.0.1",  7071, {{"host", host}, {"url", "http://" + id + ".example:7071/"}},
          health, modify_index};
}

}  // namespace

TEST_CASE("hosts are listed whether their check passes or not", "[unit][consul]") {
  const auto listed = scheduler::read_hosts({instance("a", "h1"), instance("b", "h2", Health::critical)});
  REQUIRE(listed.hosts.size() == 2);
  CHECK(listed.hosts.at(HostId("h1")).agentd_url == "http://a.example:7071/");
  CHECK_FALSE(listed.hosts.at(HostId("h1")).is_doubtful);
  CHECK(listed.hosts.at(HostId("h2")).is_doubtful);
  CHECK(listed.refused.empty());
}

TEST_CASE("of two entries of one host the living one counts, then the younger, in any order",
          "[unit][consul]") {
  const Instance dead = instance("dead", "h1", Health::critical, 99);
  const Instance old = instance("old", "h1", Health::passing, 10);
  const Instance young = instance("young", "h1", Health::warning, 11);
  std::vector<Instance> all{dead, old, young};
  std::sort(all.begin(), all.end(), [](const Instance& a, const Instance& b) { return a.id < b.id; });
  do {
    const auto listed = scheduler::read_hosts(all);
    REQUIRE(listed.hosts.size() == 1);
    CHECK(listed.hosts.at(HostId("h1")).agentd_url == "http://young.example:7071/");
  } while (std::next_permutation(all.begin(), all.end(),
                                 [](const Instance& a, const Instance& b) { return a.id < b.id; }));
}

TEST_CASE("entries that name no host or no address are left out, and said", "[unit][consul]") {
  Instance without_host = instance("x", "");
  Instance bad_name = instance("y", "../etc");
  Instance bad_url = instance("z", "h3");
  bad_url.meta["url"] = "ftp://10.0.0.1/";
  const auto listed = scheduler::read_hosts({without_host, bad_name, bad_url, instance("a", "h1")});
  CHECK(listed.hosts.size() == 1);
  CHECK(listed.refused.size() == 3);
}

TEST_CASE("a host's metadata has its capacity, with the unit in each key", "[unit][consul]") {
  agentd::LogicConfig logic;
  logic.host = HostId("h1");
  logic.os = "linux";
  logic.version = "1.2.3";
  logic.capacity.cpu_millis = 8000;
  logic.capacity.memory_bytes = std::int64_t{16} << 30;
  logic.capacity.disk_bytes = 1'000'000;
  logic.max_executors = 7;
  const auto meta = agentd::consul_metadata(logic, {"fake", "process"}, "https://h1.example:7071/");
  CHECK(meta.at("host") == "h1");
  CHECK(meta.at("url") == "https://h1.example:7071/");
  CHECK(meta.at("drivers") == "fake,process");
  CHECK(meta.at("os") == "linux");
  CHECK(meta.at("version") == "1.2.3");
  CHECK(meta.at("cpu_millis") == "8000");
  CHECK(meta.at("memory_bytes") == "17179869184");
  CHECK(meta.at("disk_bytes") == "1000000");
  CHECK(meta.at("max_executors") == "7");
  Instance written = instance("a", "h1");
  written.meta = meta;
  CHECK(scheduler::read_hosts({written}).hosts.at(HostId("h1")).agentd_url == "https://h1.example:7071/");
}

}  // namespace hosts_test
