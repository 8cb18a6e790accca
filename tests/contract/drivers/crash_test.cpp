// kill -9 of a process that runs the process driver, before each system call of start() and destroy() that
// changes something (the calls are counted in a first run by ptrace, so none is forgotten when the driver
// changes). A new driver then lists and destroys: nothing is left, and nothing foreign was touched.
#include <catch2/catch.hpp>

#include <csignal>
#include <cstddef>
#include <iostream>
#include <map>

#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "tests/contract/drivers/once_run.h"
#include "tests/contract/drivers/subject.h"

namespace crash_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string owner = "owner-a";
const std::string agent_script = "(setsid sleep 1001 &) ; exec sleep 1001";

/// Things beside our executors that no recovery may touch.
struct Foreign {
  explicit Foreign(ProcessSubject& subject) : driver(subject.make_driver("owner-b")) {
    std::filesystem::create_directories(subject.root() + "/not-an-executor");
    std::ofstream(subject.root() + "/not-an-executor/file") << "precious";
    REQUIRE(driver->start(subject.request("theirs")));
    posix_host::LaunchRequest launch;
    launch.argv = {"/bin/sleep", "1000"};
    launch.environment = {{"SKEP_EXECUTOR", "owner-b/e1@" + subject.root()}};  // a near miss
    sleeper = *posix_host::launch(launch);
  }
  ~Foreign() {
    posix_host::send_signal(sleeper, SIGKILL);
    posix_host::wait_for_end(sleeper, seconds(10));
    static_cast<void>(driver->destroy(ExecutorId("theirs")));
  }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;
  bool is_untouched(const ProcessSubject& subject) const {
    return posix_host::is_alive(sleeper) &&
           driver->inspect(ExecutorId("theirs"))->state == InstanceState::running &&
           content_of(subject.root() + "/not-an-executor/file") == "precious";
  }
  std::unique_ptr<Driver> driver;
  posix_host::ProcessIdentity sleeper;
};

/// What is not the foreigners'.
std::vector<std::string> our_residue(ProcessSubject& subject) {
  std::vector<std::string> ours;
  for (const std::string& line : subject.residue()) {
    const bool is_theirs = line.find("theirs") != std::string::npos || line == "entry not-an-executor" ||
                           line.find("sleep 1000 ") != std::string::npos;
    if (!is_theirs) ours.push_back(line);
  }
  return ours;
}

/// Sleepers whose environment says that they are of this executor.
std::size_t processes_of(const ProcessSubject& subject, const std::string& id) {
  posix_host::ProcessMarks marks;
  marks.cookie =
      "SKEP_EXECUTOR=" + owner + "/" + id + "@" + std::filesystem::weakly_canonical(subject.root()).string();
  return posix_host::find_processes(marks).size();
}

/// A driver that comes after the crash: what does it see, and does it get rid of it?
void expect_recovery(ProcessSubject& subject, const std::string& verb, const std::string& id,
                     bool has_ended) {
  const auto driver = subject.make_driver(owner);
  const auto listed = driver->list();
  REQUIRE(listed);
  const auto instance = driver->inspect(ExecutorId(id));
  REQUIRE(instance);
  CHECK(listed->size() == (instance->state == InstanceState::absent ? 0u : 1u));
  if (has_ended) CHECK(instance->state == (verb == "start" ? InstanceState::running : InstanceState::absent));
  if (verb == "start" && instance->state == InstanceState::running) {
    CHECK(driver->recover(instance->handle)->state == InstanceState::running);
  }
  if (verb == "start" && instance->state == InstanceState::creating) {
    // The same order again after a look: one sandbox, made whole.
    const auto again = driver->start(subject.script_request(id, agent_script));
    if (!again) FAIL(again.error().message);
    CHECK(again->state == InstanceState::running);
  }
  const auto destroyed = driver->destroy(ExecutorId(id));
  if (!destroyed) FAIL(destroyed.error().message);
  CHECK(driver->inspect(ExecutorId(id))->state == InstanceState::absent);
  CHECK(driver->list()->empty());
  CHECK(processes_of(subject, id) == 0);
}

}  // namespace

namespace {

/// The process driver's, in its kinds: each finds its executors again in its own way.
std::vector<std::string> kinds() {
  std::vector<std::string> all;
  for (const std::string& kind : subject_kinds()) {
    if (kind != "fake") all.push_back(kind);
  }
  return all;
}

ProcessSubject::Kind kind_of(const std::string& kind) {
  return kind == "process"      ? ProcessSubject::Kind::plain
         : kind == "namespaces" ? ProcessSubject::Kind::namespaces
                                : ProcessSubject::Kind::namespaces_and_users;
}

}  // namespace

TEST_CASE("process driver: killed before every change that start and destroy make",
          "[contract][drivers][crash]") {
  const std::string kind = GENERATE(from_range(kinds()));
  const std::string verb = GENERATE("start", "destroy");
  ProcessSubject subject(true, kind_of(kind));
  REQUIRE(subject.make_driver(owner)->probe()->is_usable);
  const Foreign foreign(subject);
  const CrashSteps steps = crash_steps(kind == "users" ? 8 : kind == "namespaces" ? 2 : 1);
  int step = steps.first;
  bool has_ended = false;
  for (; !has_ended; step += steps.stride) {
    REQUIRE(step < 2000);
    const std::string id = verb.substr(0, 1) + std::to_string(step);
    INFO(verb << ", killed before change " << step);
    if (verb == "destroy")
      REQUIRE(subject.make_driver(owner)->start(subject.script_request(id, agent_script)));
    {
      OnceRun once({bin("skep-driver-once"), kind, verb, subject.root(), owner,
                    kind == "process" ? bin("skep-join") : subject.folder.path("sandbox"),
                    subject.folder.path("image"), id});
      if (!once.begin()) {
        std::cout << "SKIPPED: this machine does not allow ptrace" << std::endl;
        return;
      }
      has_ended = once.run(step + 1).has_ended;
    }
    expect_recovery(subject, verb, id, has_ended);
  }
  std::cout << kind << ": killed " << verb << " at some " << step - steps.stride << " changes" << std::endl;
  CHECK(step > 10);
  CHECK(foreign.is_untouched(subject));
  INFO(joined(our_residue(subject)));
  CHECK(our_residue(subject).empty());
}

}  // namespace crash_test
