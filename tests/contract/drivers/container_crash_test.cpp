// kill -9 of a process that runs the container driver, before each change that start() and destroy() make:
// files, requests to the engine, and while the engine works on them. A new driver then lists, adopts or
// destroys: nothing is left, and nothing foreign was touched.
#include <catch2/catch.hpp>

#include <iostream>

#include "tests/contract/drivers/container_subject.h"
#include "tests/contract/drivers/once_run.h"

namespace container_crash_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string owner = "owner-a";

/// A driver that comes after the crash: what does it see, and does it get rid of it?
void expect_recovery(ContainerSubject& subject, const std::string& verb, const std::string& id,
                     bool has_ended) {
  const auto driver = subject.make_driver(owner);
  const auto listed = driver->list();
  if (!listed) FAIL(listed.error().message);
  const auto instance = driver->inspect(ExecutorId(id));
  REQUIRE(instance);
  if (has_ended) CHECK(instance->state == (verb == "start" ? InstanceState::running : InstanceState::absent));
  if (verb == "start" && instance->state == InstanceState::running) {
    const auto adopted = driver->recover(instance->handle);
    REQUIRE(adopted);
    CHECK(adopted->state == InstanceState::running);
    CHECK(adopted->epoch == 3);
  }
  if (verb == "start" && instance->state == InstanceState::creating) {
    // The same order again after a look: one sandbox, made whole. What the engine still works on may be in
    // the way.
    Result<Instance> again = Error::failed(ErrorCode::generic, "not tried");
    wait_until([&] { return (again = driver->start(subject.request(id))).has_value(); });
    if (!again) FAIL(again.error().message);
    CHECK(again->state == InstanceState::running);
  }
  const auto destroyed = driver->destroy(ExecutorId(id));
  if (!destroyed) FAIL(destroyed.error().message);
  // A request that the engine had taken before the kill may have its effect late: agentd lists now and then.
  CHECK(wait_until([&] {
    const auto all = driver->list();
    if (all && all->empty()) return true;
    static_cast<void>(driver->destroy(ExecutorId(id)));
    return false;
  }));
}

}  // namespace

TEST_CASE("container driver: killed before every change that start and destroy make",
          "[contract][drivers][container][crash]") {
  const std::string verb = GENERATE("start", "destroy");
  const std::string kind = GENERATE(from_range(subject_kinds()));
  ContainerSubject subject(kind);
  // The driver does the same with both engines, and Podman takes its time.
  const CrashSteps steps = crash_steps(kind == "podman" ? 3 : 1);
  REQUIRE(subject.make_driver(owner)->probe()->is_usable);
  const auto foreign = subject.make_driver("owner-b");
  REQUIRE(foreign->start(subject.request("theirs")));
  int step = steps.first;
  bool has_ended = false;
  for (; !has_ended; step += steps.stride) {
    REQUIRE(step < 500);
    const std::string id = verb.substr(0, 1) + std::to_string(step);
    INFO(verb << ", killed before change " << step);
    if (verb == "destroy") REQUIRE(subject.make_driver(owner)->start(subject.request(id)));
    {
      OnceRun once({bin("skep-driver-once"), "container", verb, subject.root(), owner, subject.engine.socket,
                    subject.engine.image, id});
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
  CHECK(foreign->inspect(ExecutorId("theirs"))->state == InstanceState::running);
  CHECK(foreign->destroy(ExecutorId("theirs")));
  const auto late = subject.make_driver(owner);
  CHECK(wait_until([&] {
    if (const auto all = late->list()) {
      for (const Instance& each : *all) static_cast<void>(late->destroy(each.id));
    }
    return subject.residue().empty();
  }));
  INFO(joined(subject.residue()));
  CHECK(subject.residue().empty());
}

}  // namespace container_crash_test
