// The real skep-agentd with the process driver: killed with SIGKILL at random moments, ended with SIGTERM,
// cleaned up.
#include <catch2/catch.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <future>

#include "core/prng.h"
#include "linux/linux_host_facts.h"
#include "linux/linux_process_launcher.h"
#include "tests/integration/agentd/support.h"

namespace kill_test {

using namespace skep;
using namespace skep::test;

namespace {

std::string bin(const std::string& program) {
  return posix_host::program_folder() + "/" + program;
}

/// A host with its state folder; agentd on it may be started and killed any number of times.
class Host {
 public:
  Host() {
    std::ofstream(folder.path("agentd.yaml"))
        << "host: h1\nstate_dir: " << folder.path("state")
        << "\nregistry: {type: none}\ncapacity: {cpu: 8, memory: 8GiB, disk: 10GiB}\n";
  }
  /// Whatever a failed test left: ended by the host's own means.
  ~Host() {
    kill();
    if (launch({"--remove-all"})) wait_for_end(seconds(30));
    kill();
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  bool launch(const std::vector<std::string>& more) {
    posix_host::LaunchRequest request;
    request.argv = {bin("skep-agentd"), "--config", folder.path("agentd.yaml")};
    request.argv.insert(request.argv.end(), more.begin(), more.end());
    request.environment = posix_host::basic_environment();
    request.working_directory = folder.path();
    request.output_file = folder.path("log." + std::to_string(++lives));
    auto launched = posix_host::launch(request);
    if (!launched) return false;
    process = *launched;
    return true;
  }

  void start() {
    REQUIRE(launch({"--print-url"}));
    std::string url;
    REQUIRE(wait_until([&] {
      const std::string text = content_of(log());
      const std::string mark = R"({"listening":")";
      const std::size_t begin = text.find(mark);
      if (begin == std::string::npos) return false;
      const std::size_t end = text.find('"', begin + mark.size());
      if (end == std::string::npos) return false;
      url = text.substr(begin + mark.size(), end - begin - mark.size());
      return true;
    }));
    api = std::make_unique<Api>(url);
  }
  void wait_until_known() {
    REQUIRE(wait_until([this] {  // it has listed and probed: before that it refuses new orders for now
      const auto report = api->report();
      return report && !report->drivers.empty() && api->destroy("never-seen", 1).status == 200;
    }));
  }
  void kill() {
    if (process.pid == 0) return;
    posix_host::send_signal(process, SIGKILL);
    wait_until([this] { return !posix_host::is_alive(process); });
    posix_host::reap(process.pid);
    process = {};
  }
  bool wait_for_end(std::chrono::nanoseconds limit) {
    const auto seconds_limit = std::chrono::duration_cast<std::chrono::seconds>(limit);
    const bool has_ended = wait_until([this] { return !posix_host::is_alive(process); }, seconds_limit);
    if (!has_ended) return false;
    posix_host::reap(process.pid);
    process = {};
    return true;
  }

  /// An agent that says it is connected, and notes each of its starts.
  ExecutorOrder order(const std::string& id) const {
    ExecutorOrder order = make_order(id, "process");
    order.spec.agent_command = {
        "/bin/sh", "-c",
        "echo started >> " + folder.path("starts." + id) + "; echo INFO: Connected >&2; exec sleep 1000"};
    order.spec.stop_grace = milliseconds(200);
    return order;
  }
  long starts(const std::string& id) const {
    const std::string text = content_of(folder.path("starts." + id));
    return std::count(text.begin(), text.end(), '\n');
  }
  /// Directories and processes of executors; the folder's name is in every agent's command line.
  std::vector<std::string> leftovers() const {
    std::vector<std::string> all;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path("state/executors"), ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.front() != '.') all.push_back("directory " + name);
    }
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
      const std::string pid = entry.path().filename().string();
      if (pid.find_first_not_of("0123456789") != std::string::npos || pid == std::to_string(process.pid))
        continue;
      std::string text = content_of(entry.path().string() + "/cmdline");
      std::replace(text.begin(), text.end(), '\0', ' ');
      const bool is_cookie =
          content_of(entry.path().string() + "/environ").find(folder.path()) != std::string::npos;
      if (text.find(folder.path()) != std::string::npos || (is_cookie && !text.empty()))
        all.push_back("process " + pid + " " + text);
    }
    return all;
  }
  std::string log() const { return folder.path("log." + std::to_string(lives)); }

  TempFolder folder;
  posix_host::ProcessIdentity process;
  std::unique_ptr<Api> api;
  int lives = 0;
};

std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

std::uint64_t seed() {
  const char* text = std::getenv("SKEP_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device{}();
}

}  // namespace

TEST_CASE("agentd killed at random moments adopts or removes, starts nothing twice, leaves nothing",
          "[integration][agentd][kill]") {
  const std::uint64_t used_seed = seed();
  INFO("replay: SKEP_SEED=" << used_seed << " agentd_kill_test '[kill]'");
  Prng prng(used_seed);
  Host host;
  host.start();
  host.wait_until_known();
  CHECK(host.api->put(host.order("steady")).status == 202);
  REQUIRE(wait_until([&] { return host.api->state("steady") == ExecutorState::idle; }));
  std::vector<std::string> ids;
  for (int round = 0; round < 25; ++round) {
    const std::string id = "e" + std::to_string(round);
    ids.push_back(id);
    const ExecutorOrder order = host.order(id);
    auto ordered = std::async(std::launch::async, [&host, &order] { return host.api->put(order).status; });
    if (round % 3 == 2) host.api->destroy(ids[prng.below(ids.size())], 1);
    std::this_thread::sleep_for(
        std::chrono::microseconds(prng.between(0, round % 2 == 0 ? 40'000 : 200'000)));  // the random moment
    host.kill();
    const int status = ordered.get();
    INFO("status " << status);
    CHECK((status == 202 || status == 409 || status == 0));
    host.start();
    host.wait_until_known();
    const http::Reply repeated = host.api->put(order);  // the scheduler repeats until it knows
    INFO("repeated " << repeated.status << " " << repeated.body);
    CHECK((repeated.status == 202 || repeated.status == 409));
  }
  int adopted = 0;
  for (const std::string& id : ids) {
    INFO("executor " << id);
    CHECK(wait_until([&] {
      const ExecutorState state = host.api->state(id);
      return state == ExecutorState::idle || state == ExecutorState::failed || state == ExecutorState::gone;
    }));
    if (host.api->state(id) == ExecutorState::idle) {
      ++adopted;
      CHECK(host.starts(id) == 1);
    }
    CHECK(host.starts(id) <= 1);
  }
  CHECK(adopted > 0);
  CHECK(host.api->state("steady") == ExecutorState::idle);
  CHECK(host.starts("steady") == 1);
  ids.emplace_back("steady");
  for (const std::string& id : ids) host.api->destroy(id, 1);
  CHECK(wait_until(
      [&] {
        const auto report = host.api->report();
        return report && report->executors.empty();
      },
      std::chrono::seconds(60)));
  INFO(joined(host.leftovers()));
  CHECK(host.leftovers().empty());
}

TEST_CASE("agentd killed at the instant of its answer: what it answered for is durable",
          "[integration][agentd][kill]") {
  Host host;
  host.start();
  host.wait_until_known();
  ExecutorOrder order = host.order("e1");
  for (Epoch epoch = 5; epoch < 10; ++epoch) {
    order.epoch = epoch;
    REQUIRE(host.api->put(order).status == 202);
    host.kill();
    host.start();
    REQUIRE(wait_until([&] { return host.api->report().has_value(); }));
    order.epoch = epoch - 1;
    CHECK(host.api->put(order).status == 409);
    const http::Reply destroyed = host.api->destroy("e1", epoch - 1);
    CHECK(destroyed.status == 409);
    REQUIRE(error_in(destroyed));
    CHECK(error_in(destroyed)->code == ErrorCode::stale_epoch);
    CHECK(host.api->report()->epoch_seen == epoch);
  }
  REQUIRE(wait_until([&] {
    const ExecutorState state = host.api->state("e1");
    return state == ExecutorState::idle || state == ExecutorState::failed;
  }));
  CHECK(host.starts("e1") <= 1);
  CHECK(host.api->destroy("e1", 9).status == 202);
  REQUIRE(wait_until([&] { return host.api->report() && host.api->report()->executors.empty(); }));
  INFO(joined(host.leftovers()));
  CHECK(host.leftovers().empty());
}

TEST_CASE("agentd killed without a leader: when the leases are over nothing is left",
          "[integration][agentd][kill]") {
  Host host;
  host.start();
  host.wait_until_known();
  for (int i = 0; i < 3; ++i) {
    ExecutorOrder order = host.order("e" + std::to_string(i));
    order.lease = seconds(1);
    CHECK(host.api->put(order).status == 202);
  }
  host.kill();
  host.start();
  CHECK(wait_until(
      [&] {
        const auto report = host.api->report();
        return report && report->executors.empty() && host.leftovers().empty();
      },
      std::chrono::seconds(30)));
  INFO(joined(host.leftovers()));
  CHECK(host.leftovers().empty());
}

TEST_CASE("agentd ends within five seconds at SIGTERM and keeps executors; --remove-all removes them",
          "[integration][agentd][kill]") {
  Host host;
  host.start();
  host.wait_until_known();
  CHECK(host.api->put(host.order("e1")).status == 202);
  REQUIRE(wait_until([&] { return host.api->state("e1") == ExecutorState::idle; }));
  posix_host::send_signal(host.process, SIGTERM);
  REQUIRE(host.wait_for_end(seconds(5)));
  CHECK_FALSE(host.leftovers().empty());
  host.start();
  REQUIRE(wait_until([&] { return host.api->state("e1") == ExecutorState::idle; }));
  CHECK(host.starts("e1") == 1);
  host.kill();
  REQUIRE(host.launch({"--remove-all"}));
  REQUIRE(host.wait_for_end(seconds(20)));
  INFO(joined(host.leftovers()));
  CHECK(host.leftovers().empty());
}

TEST_CASE("agentd with --on-stop drain or remove leaves nothing at SIGINT", "[integration][agentd][kill]") {
  Host host;
  const std::string on_stop = GENERATE("drain", "remove");
  std::ofstream(host.folder.path("agentd.yaml"), std::ios::app) << "on_stop: " << on_stop << "\n";
  host.start();
  host.wait_until_known();
  CHECK(host.api->put(host.order("e1")).status == 202);
  REQUIRE(wait_until([&] { return host.api->state("e1") == ExecutorState::idle; }));
  posix_host::send_signal(host.process, SIGINT);
  REQUIRE(host.wait_for_end(seconds(20)));
  INFO(joined(host.leftovers()));
  CHECK(host.leftovers().empty());
}

TEST_CASE("agentd says what is wrong with its configuration, and neither starts nor writes",
          "[integration][agentd]") {
  Host host;
  std::ofstream(host.folder.path("agentd.yaml"), std::ios::app) << "lisen: 127.0.0.1:0\n";
  REQUIRE(host.launch({}));
  REQUIRE(host.wait_for_end(seconds(10)));
  const std::string text = content_of(host.log());
  INFO(text);
  CHECK(text.find("lisen") != std::string::npos);
  CHECK(text.find("listen") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(host.folder.path("state")));
}

}  // namespace kill_test
