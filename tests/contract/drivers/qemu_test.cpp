// What only the QEMU driver can do wrong.
#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>

#include "tests/contract/drivers/qemu_subject.h"

namespace qemu_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string owner = "owner-a";

}  // namespace

TEST_CASE("qemu driver: how long it takes", "[contract][drivers][qemu]") {
  if (subject_kinds().empty()) return;
  QemuSubject subject;
  const auto driver = subject.make_driver(owner);
  using Clock = std::chrono::steady_clock;
  const auto ms = [](Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
  std::vector<double> start, join, destroy;
  for (int i = 0; i < 5; ++i) {
    const std::string id = "e" + std::to_string(i);
    const auto begin = Clock::now();
    const auto started = driver->start(subject.request(id));
    if (!started) FAIL(started.error().message);
    start.push_back(ms(Clock::now() - begin));
    CHECK(reaches(*driver, id, AgentPhase::connected));
    join.push_back(ms(Clock::now() - begin));
    const auto end = Clock::now();
    CHECK(driver->destroy(ExecutorId(id)));
    destroy.push_back(ms(Clock::now() - end));
  }
  for (auto* times : {&start, &join, &destroy}) std::sort(times->begin(), times->end());
  std::cout << "qemu, cold: start " << start[2] << " ms, join-ready " << join[2] << " ms, destroy "
            << destroy[2] << " ms (medians of 5)" << std::endl;
}

}  // namespace qemu_test
