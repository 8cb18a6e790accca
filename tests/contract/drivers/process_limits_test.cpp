// Limits that the process driver says it has are really enforced.
#include <catch2/catch.hpp>

#include <iostream>

#include "drivers/process/process_driver.h"
#include "tests/contract/drivers/subject.h"

namespace process_limits_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string owner = "owner-a";
const std::string connected = "echo INFO: Connected >&2; ";

bool is_skipped(bool is_limited, const char* what) {
  if (!is_limited) std::cout << "SKIPPED: control groups do not limit " << what << " here" << std::endl;
  return !is_limited;
}

/// What the agent's script wrote to `result` in its work directory, in the end.
std::string result_of(const ProcessSubject& subject, const std::string& id) {
  const std::string file = subject.work(id) + "/result";
  REQUIRE(wait_until([&] { return !content_of(file).empty(); }, std::chrono::seconds(60)));
  return content_of(file);
}

}  // namespace

TEST_CASE("process driver: more memory than the executor may have is not had",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  const auto driver = subject.make_driver(owner);
  if (is_skipped(driver->capabilities().limits_memory, "memory")) return;
  // tail keeps a text without line ends whole in memory.
  const std::string script =
      "(head -c 200000000 /dev/zero | tail -n 1 | wc -c > size); "
      "[ \"$(cat size)\" = 200000000 ] && echo had > result || echo refused > result; ";
  StartRequest small = subject.script_request("small", script + "exec sleep 1000");
  small.spec.resources.memory_bytes = 64 << 20;
  REQUIRE(driver->start(small));
  CHECK(result_of(subject, "small") == "refused\n");
  StartRequest large = subject.script_request("large", script + "exec sleep 1000");
  large.spec.resources.memory_bytes = 1LL << 30;
  REQUIRE(driver->start(large));
  CHECK(result_of(subject, "large") == "had\n");
  for (const char* id : {"small", "large"}) CHECK(driver->destroy(ExecutorId(id)));
  CHECK(subject.residue().empty());
}

TEST_CASE("process driver: a fork bomb stays in its executor and is destroyed with it",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  ProcessDriverOptions options;
  options.root = subject.root();
  options.join_program = bin("skep-join");
  options.images = {{"base", subject.folder.path("image")}};
  options.owner_tag = owner;
  options.max_processes = 60;
  const auto driver = make_process_driver(options);
  bool is_limited = false;
  REQUIRE(driver->start(subject.script_request(
      "bomb", connected + "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; wait")));
  for (const std::string& folder : subject.cgroup_folders(owner, "bomb"))
    is_limited = is_limited || content_of(folder + "/pids.max") == "60\n";
  if (!is_skipped(is_limited, "processes")) {
    REQUIRE(wait_until([&] {
      return content_of(subject.root() + "/bomb/logs/join.log").find("fork") != std::string::npos;
    }));
    CHECK(subject.processes().size() <= 60);
  }
  CHECK(driver->destroy(ExecutorId("bomb")));
  INFO(joined(subject.residue()));
  CHECK(subject.residue().empty());
}

TEST_CASE("process driver: a processor share is a hard limit", "[contract][drivers][process]") {
  ProcessSubject subject;
  const auto driver = subject.make_driver(owner);
  if (is_skipped(driver->capabilities().limits_cpu, "cpu")) return;
  // The kernel counts how often the group was held back: no clock is needed.
  StartRequest request = subject.script_request("e1", "while :; do :; done");
  request.spec.resources.cpu_millis = 100;
  REQUIRE(driver->start(request));
  CHECK(wait_until([&] {
    for (const std::string& folder : subject.cgroup_folders(owner, "e1")) {
      const std::string stat = content_of(folder + "/cpu.stat");
      const std::size_t at = stat.find("nr_throttled ");
      if (at != std::string::npos && std::stol(stat.substr(at + 13)) > 2) return true;
    }
    return false;
  }));
  CHECK(driver->destroy(ExecutorId("e1")));
  CHECK(subject.residue().empty());
}

}  // namespace process_limits_test
