// What only the fake driver can be told to do: every fault of a real host, by script.
#include <catch2/catch.hpp>

#include <future>

#include "drivers/fake/fake_driver.h"
#include "tests/contract/drivers/subject.h"

namespace fake_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;
using namespace skep::drivers::fake;

namespace {

const std::string owner = "skep";
constexpr Instant begin{};

StartRequest request_of(const std::string& id) {
  StartRequest request;
  request.spec.id = ExecutorId(id);
  request.ticket.attempt = 1;
  request.epoch = 4;
  return request;
}

InstanceState state_of(HostModel& model, const std::string& id, Instant now) {
  return model.inspect(owner, ExecutorId(id), now).result->state;
}
AgentPhase agent_of(HostModel& model, const std::string& id, Instant now) {
  return model.inspect(owner, ExecutorId(id), now).result->agent;
}

}  // namespace

TEST_CASE("host model: each fault has its outcome and its effect", "[contract][drivers][fake]") {
  struct Case {
    Fault fault;
    Outcome outcome;
    bool is_made;
  };
  const Case one = GENERATE(values<Case>({{Fault::fails, Outcome::failed, false},
                                          {Fault::fails_for_now, Outcome::try_again, false},
                                          {Fault::unknown_and_done, Outcome::unknown, true},
                                          {Fault::unknown_not_done, Outcome::unknown, false},
                                          {Fault::hangs, Outcome::unknown, false}}));
  HostModel model;
  model.script_next(Verb::start, {one.fault, seconds(1), ErrorCode::out_of_resources});
  const auto answer = model.start(owner, request_of("e1"), begin);
  REQUIRE_FALSE(answer.result);
  CHECK(answer.result.error().outcome == one.outcome);
  CHECK(answer.takes.has_value() == (one.fault != Fault::hangs));
  const Instant later = begin + seconds(2);
  CHECK(state_of(model, "e1", later) == (one.is_made ? InstanceState::running : InstanceState::absent));
  CHECK(model.times_made(ExecutorId("e1")) == (one.is_made ? 1 : 0));
  // After the caller has looked, the same order again makes it good, and makes nothing twice.
  CHECK(model.start(owner, request_of("e1"), later).result);
  CHECK(model.times_made(ExecutorId("e1")) == 1);
}

TEST_CASE("host model: destroy whose answer was lost has happened", "[contract][drivers][fake]") {
  HostModel model;
  CHECK(model.start(owner, request_of("e1"), begin).result);
  model.script_next(Verb::destroy, {Fault::unknown_not_done});
  model.script_next(Verb::destroy, {Fault::unknown_and_done});
  CHECK_FALSE(model.destroy(owner, ExecutorId("e1"), begin).result);
  CHECK(state_of(model, "e1", begin) == InstanceState::running);
  CHECK_FALSE(model.destroy(owner, ExecutorId("e1"), begin).result);
  CHECK(state_of(model, "e1", begin) == InstanceState::absent);
  CHECK(model.destroy(owner, ExecutorId("e1"), begin).result);
}

TEST_CASE("host model: a life takes the time that was scripted", "[contract][drivers][fake]") {
  HostModel model;
  LifeScript life;
  life.boot = seconds(10);
  life.join = seconds(5);
  life.agent_ends = seconds(60);
  life.agent_exit_code = 255;
  model.script_life(ExecutorId("e1"), life);
  model.script_next(Verb::start, {Fault::none, seconds(2)});
  const auto answer = model.start(owner, request_of("e1"), begin);
  REQUIRE(answer.result);
  CHECK(answer.takes == seconds(2));
  CHECK(answer.result->state == InstanceState::running);
  CHECK(state_of(model, "e1", begin + seconds(1)) == InstanceState::creating);
  CHECK(state_of(model, "e1", begin + seconds(2)) == InstanceState::running);
  CHECK(agent_of(model, "e1", begin + seconds(11)) == AgentPhase::none);
  CHECK(agent_of(model, "e1", begin + seconds(12)) == AgentPhase::started);
  CHECK(agent_of(model, "e1", begin + seconds(17)) == AgentPhase::connected);
  CHECK(agent_of(model, "e1", begin + seconds(77)) == AgentPhase::ended);
  CHECK(model.inspect(owner, ExecutorId("e1"), begin + seconds(77)).result->exit_code == 255);
  CHECK(model.next_change(begin) == begin + seconds(2));
  CHECK(model.changed_between(begin + seconds(11), begin + seconds(12)).size() == 1);
  CHECK(model.changed_between(begin + seconds(12), begin + seconds(16)).empty());
}

TEST_CASE("host model: boots and never joins; dies by itself; the machine restarts",
          "[contract][drivers][fake]") {
  HostModel model;
  LifeScript never;
  never.join.reset();
  model.script_life(ExecutorId("never"), never);
  LifeScript dying;
  dying.dies = minutes(1);
  model.script_life(ExecutorId("dying"), dying);
  for (const char* id : {"never", "dying", "killed", "steady"})
    CHECK(model.start(owner, request_of(id), begin).result);
  CHECK(agent_of(model, "never", begin + hours(5)) == AgentPhase::started);
  CHECK(state_of(model, "dying", begin + minutes(1)) == InstanceState::exited);
  model.kill_sandbox(ExecutorId("killed"), begin + hours(5));
  CHECK(state_of(model, "killed", begin + hours(5)) == InstanceState::exited);
  CHECK(state_of(model, "steady", begin + hours(5)) == InstanceState::running);
  model.reboot(begin + hours(6));
  CHECK(state_of(model, "steady", begin + hours(6)) == InstanceState::exited);
  CHECK(model.count_sandboxes(begin + hours(6)) == 4);
}

TEST_CASE("host model: agentd killed inside start or destroy leaves something half-made",
          "[contract][drivers][fake]") {
  HostModel model;
  model.script_always(Verb::start, {Fault::none, seconds(10)});
  model.script_always(Verb::destroy, {Fault::none, seconds(10)});
  CHECK(model.start(owner, request_of("e1"), begin).result);
  model.kill_driver_process(begin + seconds(5));
  CHECK(state_of(model, "e1", begin + hours(1)) == InstanceState::creating);
  CHECK(model.peek(owner, begin + hours(1)).size() == 1);
  CHECK(model.destroy(owner, ExecutorId("e1"), begin + hours(1)).result);
  model.kill_driver_process(begin + hours(1) + seconds(5));
  CHECK(state_of(model, "e1", begin + hours(2)) == InstanceState::creating);
  CHECK(model.destroy(owner, ExecutorId("e1"), begin + hours(2)).result);
  CHECK(model.count_sandboxes(begin + hours(3)) == 0);
}

TEST_CASE("host model: room, images and other people's sandboxes", "[contract][drivers][fake]") {
  ModelOptions options;
  options.images = {"debian"};
  options.capacity = Resources{2000, 0, 0, {}};
  HostModel model(options);
  StartRequest request = request_of("e1");
  request.spec.resources.cpu_millis = 1500;
  CHECK(model.start(owner, request, begin).result);
  request.spec.id = ExecutorId("e2");
  const auto full = model.start(owner, request, begin);
  REQUIRE_FALSE(full.result);
  CHECK(full.result.error().code == ErrorCode::out_of_resources);
  CHECK(full.result.error().outcome == Outcome::try_again);
  CHECK(model.destroy(owner, ExecutorId("e1"), begin).result);
  CHECK(model.start(owner, request, begin).result);
  request.spec.image = "windows";
  request.spec.id = ExecutorId("e3");
  CHECK(model.start(owner, request, begin).result.error().code == ErrorCode::not_found);
  model.add_foreign(ExecutorId("theirs"), begin);
  CHECK(model.peek(owner, begin).size() == 1);
  CHECK(model.destroy(owner, ExecutorId("theirs"), begin).result.error().code == ErrorCode::conflict);
  model.remove_behind_our_back(ExecutorId("e2"));
  CHECK(state_of(model, "e2", begin) == InstanceState::absent);
}

TEST_CASE("fake driver: calls that hang end when they are released, or with the driver",
          "[contract][drivers][fake]") {
  const auto host = std::make_shared<FakeHost>();
  auto driver = make_fake_driver(host);
  const auto hang = [&] {
    host->with_model([](HostModel& model, Instant) { model.script_next(Verb::list, {Fault::hangs}); });
    Driver& used = *driver;
    auto call = std::async(std::launch::async, [&used] { return used.list().error().outcome; });
    CHECK(call.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout);
    return call;
  };
  auto released = hang();
  host->release_hanging_calls();
  CHECK(released.get() == Outcome::unknown);
  auto ended = hang();
  host->with_model([](HostModel& model, Instant) {
    model.script_next(Verb::inspect, {Fault::none, hours(1)});
  });
  Driver& used = *driver;
  auto slow =
      std::async(std::launch::async, [&used] { return used.inspect(ExecutorId("e1")).error().outcome; });
  CHECK(slow.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout);
  driver.reset();
  CHECK(ended.get() == Outcome::unknown);
  CHECK(slow.get() == Outcome::unknown);
}

TEST_CASE("fake driver: what happens by itself is told", "[contract][drivers][fake]") {
  const auto host = std::make_shared<FakeHost>();
  auto driver = make_fake_driver(host);
  std::atomic<int> calls{0};
  dynamic_cast<ChangeSource*>(driver.get())->set_change_listener([&](const ExecutorId& id) {
    calls += id.text == "e1" ? 1 : 0;
  });
  CHECK(driver->start(request_of("e1")));
  CHECK(wait_until([&] { return calls >= 1; }));
  const int before = calls;
  host->with_model([](HostModel& model, Instant now) { model.end_agent(ExecutorId("e1"), 3, now); });
  CHECK(wait_until([&] { return calls > before; }));
  CHECK(driver->inspect(ExecutorId("e1"))->exit_code == 3);
}

}  // namespace fake_test
