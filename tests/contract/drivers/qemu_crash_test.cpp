// kill -9 of a process that runs the QEMU driver, before changes that start() and destroy() make. A new
// driver then lists, adopts or destroys: no process, disk, filter or control group is left, and nothing
// foreign was touched.
#include <catch2/catch.hpp>

#include <iostream>

#include "tests/contract/drivers/once_run.h"
#include "tests/contract/drivers/qemu_subject.h"

namespace qemu_crash_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string owner = "owner-a";

void expect_recovery(QemuSubject& subject, const std::string& verb, const std::string& id, bool has_ended) {
  const auto driver = subject.make_driver(owner);
  const auto listed = driver->list();
  if (!listed) FAIL(listed.error().message);
  const auto instance = driver->inspect(ExecutorId(id));
  REQUIRE(instance);
  const bool is_listed = !listed->empty();
  CHECK(is_listed == (instance->state != InstanceState::absent));
  if (has_ended) CHECK(instance->state == (verb == "start" ? InstanceState::running : InstanceState::absent));
  if (verb == "start" && instance->state == InstanceState::running) {
    const auto adopted = driver->recover(instance->handle);
    REQUIRE(adopted);
    CHECK(adopted->epoch == 3);
  }
  const auto destroyed = driver->destroy(ExecutorId(id));
  if (!destroyed) FAIL(destroyed.error().message);
  CHECK(driver->inspect(ExecutorId(id))->state == InstanceState::absent);
}

}  // namespace

TEST_CASE("qemu driver: killed before changes that start and destroy make",
          "[contract][drivers][qemu][crash]") {
  const std::string verb = GENERATE("start", "destroy");
  const CrashSteps steps = crash_steps(5);  // a machine takes its time
  QemuSubject subject(StartMode::cold);
  const auto& image = subject.tiny.image;
  const std::string described = subject.folder + "/image.txt";
  std::ofstream(described) << image.folder << "\n"
                           << image.kernel.name << "\n"
                           << image.kernel.sha256 << "\n"
                           << image.initrd.name << "\n"
                           << image.initrd.sha256 << "\n"
                           << image.disk.name << "\n"
                           << image.disk.sha256 << "\n"
                           << image.command_line << "\n";
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
      OnceRun once({bin("skep-driver-once"), "qemu", verb, subject.root(), owner, subject.folder + "/qemu",
                    described, id});
      if (!once.begin()) {
        std::cout << "SKIPPED: this machine does not allow ptrace" << std::endl;
        return;
      }
      has_ended = once.run(step + 1).has_ended;
    }
    expect_recovery(subject, verb, id, has_ended);
  }
  std::cout << "qemu: killed " << verb << " at some " << step - steps.stride << " changes" << std::endl;
  CHECK(step > 10);
  CHECK(foreign->inspect(ExecutorId("theirs"))->state == InstanceState::running);
  CHECK(foreign->destroy(ExecutorId("theirs")));
  const auto left = subject.residue();
  INFO(joined(left));
  CHECK(left.empty());
}

}  // namespace qemu_crash_test
