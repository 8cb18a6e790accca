// The contract of drivers/api/driver.h, once for every driver.
#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

#include "tests/contract/drivers/subject.h"

namespace contract_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

/// The driver of this run of a test case, on an empty machine.
struct Fixture {
  std::unique_ptr<Subject> subject = make_subject(GENERATE(from_range(subject_kinds())));
  std::unique_ptr<Driver> driver = subject->make_driver("owner-a");

  InstanceState state(const std::string& id) {
    const auto instance = driver->inspect(ExecutorId(id));
    REQUIRE(instance);
    return instance->state;
  }
  Instance start(const std::string& id, Behaviour behaviour = Behaviour::connects) {
    auto started = driver->start(subject->request(id, behaviour));
    if (!started) FAIL(started.error().message);
    // One that dies by itself may have done so already.
    if (behaviour != Behaviour::dies) REQUIRE(started->state == InstanceState::running);
    return *started;
  }
  void expect_nothing_left(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      CHECK(driver->destroy(ExecutorId(id)));
      CHECK(state(id) == InstanceState::absent);
    }
    const auto all = driver->list();
    REQUIRE(all);
    CHECK(all->empty());
    INFO(joined(subject->residue()));
    CHECK(subject->residue().empty());
  }
};

const std::vector<std::string> bad_ids{"",
                                       ".",
                                       "..",
                                       "../x",
                                       "a/b",
                                       "/etc",
                                       "A",
                                       "a b",
                                       "-a",
                                       "a-",
                                       "a.b",
                                       "é",
                                       "a\nb",
                                       std::string(61, 'a'),
                                       std::string("a\0b", 3)};

}  // namespace

TEST_CASE("driver: probe and capabilities agree with what it is", "[contract][drivers]") {
  Fixture f;
  const auto report = f.driver->probe();
  REQUIRE(report);
  INFO(report->detail);
  CHECK(report->is_usable);
  CHECK(report->images == std::vector<std::string>{"base"});
  CHECK_FALSE(f.driver->name().empty());
  const Capabilities can = f.driver->capabilities();
  CHECK((dynamic_cast<TicketDelivery*>(f.driver.get()) != nullptr) == can.can_redeliver_ticket);
  CHECK((dynamic_cast<ChangeSource*>(f.driver.get()) != nullptr) == can.reports_changes);
}

TEST_CASE("driver: start makes one sandbox, whose agent connects; twice is once", "[contract][drivers]") {
  Fixture f;
  const StartRequest request = f.subject->request("e1");
  const auto first = f.driver->start(request);
  if (!first) FAIL(first.error().message);
  CHECK(first->id.text == "e1");
  CHECK(first->state == InstanceState::running);
  CHECK(first->epoch == 3);
  CHECK_FALSE(first->handle.blob.empty());
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  const auto second = f.driver->start(request);
  REQUIRE(second);
  CHECK(second->handle == first->handle);
  const auto all = f.driver->list();
  REQUIRE(all);
  REQUIRE(all->size() == 1);
  CHECK(all->front().id.text == "e1");
  CHECK(all->front().epoch == 3);
  CHECK(all->front().ticket_attempt == 1);
  CHECK(f.subject->times_made("e1") == 1);
  f.expect_nothing_left({"e1"});
}

TEST_CASE("driver: stop ends it and keeps the residue, destroy removes all; both as often as you like",
          "[contract][drivers]") {
  Fixture f;
  const Behaviour behaviour = GENERATE(Behaviour::connects, Behaviour::ignores_term, Behaviour::never_joins);
  f.start("e1", behaviour);
  f.start("e2");
  if (behaviour != Behaviour::never_joins) REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  for (int i = 0; i < 2; ++i) {
    const auto stopped = f.driver->stop(ExecutorId("e1"), milliseconds(300));
    if (!stopped) FAIL_CHECK(stopped.error().message);
    CHECK(f.state("e1") == InstanceState::exited);
  }
  CHECK(f.state("e2") == InstanceState::running);
  CHECK(f.driver->list()->size() == 2);
  const auto started_again = f.driver->start(f.subject->request("e1"));
  REQUIRE(started_again);  // the same instance, not a second life
  CHECK(started_again->state == InstanceState::exited);
  for (int i = 0; i < 2; ++i) CHECK(f.driver->destroy(ExecutorId("e1")));
  CHECK(f.state("e1") == InstanceState::absent);
  CHECK(f.state("e2") == InstanceState::running);
  f.expect_nothing_left({"e1", "e2"});
}

TEST_CASE("driver: a running executor may be destroyed at once", "[contract][drivers]") {
  Fixture f;
  f.start("e1", Behaviour::ignores_term);
  f.expect_nothing_left({"e1"});
}

TEST_CASE("driver: what was never there can be stopped and destroyed, and is absent", "[contract][drivers]") {
  Fixture f;
  CHECK(f.driver->stop(ExecutorId("never"), seconds(1)));
  CHECK(f.driver->destroy(ExecutorId("never")));
  CHECK(f.state("never") == InstanceState::absent);
  CHECK(f.driver->list()->empty());
}

TEST_CASE("driver: an id that was destroyed is never started again", "[contract][drivers]") {
  Fixture f;
  f.start("e1");
  CHECK(f.driver->destroy(ExecutorId("e1")));
  CHECK(f.driver->destroy(ExecutorId("late")));  // the order to start it comes after the one to destroy it
  for (const char* id : {"e1", "late"}) {
    for (const bool is_restarted : {false, true}) {
      if (is_restarted) f.driver = f.subject->make_driver("owner-a");
      const auto again = f.driver->start(f.subject->request(id));
      REQUIRE_FALSE(again);
      CHECK(again.error().code == ErrorCode::conflict);
      CHECK(again.error().outcome == Outcome::failed);
    }
  }
  f.expect_nothing_left({});
}

TEST_CASE("driver: an agent that ends leaves the sandbox, a sandbox that dies is seen",
          "[contract][drivers]") {
  Fixture f;
  f.start("ends", Behaviour::ends_with_7);
  f.start("dies", Behaviour::dies);
  f.start("never", Behaviour::never_joins);
  REQUIRE(reaches(*f.driver, "ends", AgentPhase::ended));
  CHECK(f.driver->inspect(ExecutorId("ends"))->exit_code == 7);
  CHECK(f.state("ends") == InstanceState::running);
  REQUIRE(reaches(*f.driver, "dies", InstanceState::exited));
  CHECK(f.driver->inspect(ExecutorId("dies"))->agent == AgentPhase::ended);
  REQUIRE(reaches(*f.driver, "never", AgentPhase::started));
  f.expect_nothing_left({"ends", "dies", "never"});
}

TEST_CASE("driver: after a restart of agentd everything is found again and still works",
          "[contract][drivers]") {
  Fixture f;
  f.start("e1");
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  const InstanceHandle handle = f.driver->inspect(ExecutorId("e1"))->handle;
  f.driver.reset();
  f.driver = f.subject->make_driver("owner-a");
  const auto all = f.driver->list();
  REQUIRE(all);
  REQUIRE(all->size() == 1);
  CHECK(all->front().handle == handle);
  for (int i = 0; i < 2; ++i) {
    const auto recovered = f.driver->recover(handle);
    REQUIRE(recovered);
    CHECK(recovered->id.text == "e1");
    CHECK(recovered->state == InstanceState::running);
    CHECK(recovered->agent == AgentPhase::connected);
    CHECK(recovered->epoch == 3);
  }
  std::atomic<int> changes{0};
  auto* source = dynamic_cast<ChangeSource*>(f.driver.get());
  REQUIRE(source != nullptr);
  source->set_change_listener([&](const ExecutorId& id) { changes += id.text == "e1" ? 1 : 0; });
  auto* delivery = dynamic_cast<TicketDelivery*>(f.driver.get());
  REQUIRE(delivery != nullptr);
  Ticket ticket = f.subject->request("e1").ticket;
  ticket.attempt = 2;
  for (int i = 0; i < 2; ++i) CHECK(delivery->deliver_ticket(ExecutorId("e1"), ticket));
  REQUIRE(wait_until([&] { return f.driver->inspect(ExecutorId("e1"))->ticket_attempt == 2; }));
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  CHECK(wait_until([&] { return changes > 0; }));
  CHECK_FALSE(delivery->deliver_ticket(ExecutorId("never"), ticket));
  source->set_change_listener(nullptr);
  f.expect_nothing_left({"e1"});
}

TEST_CASE("driver: a handle that it did not make is refused; one of something gone is absent",
          "[contract][drivers]") {
  Fixture f;
  for (const InstanceHandle& handle : {InstanceHandle{2, "e1"}, InstanceHandle{1, ""},
                                       InstanceHandle{1, "../e1"}, InstanceHandle{0, "e1"}}) {
    const auto recovered = f.driver->recover(handle);
    REQUIRE_FALSE(recovered);
    CHECK(recovered.error().code == ErrorCode::invalid_input);
  }
  f.start("e1");
  const InstanceHandle handle = f.driver->inspect(ExecutorId("e1"))->handle;
  CHECK(f.driver->destroy(ExecutorId("e1")));
  const auto recovered = f.driver->recover(handle);
  REQUIRE(recovered);
  CHECK(recovered->state == InstanceState::absent);
}

TEST_CASE("driver: an id that is a path trick is refused by every verb and touches nothing",
          "[contract][drivers]") {
  Fixture f;
  for (const std::string& text : bad_ids) {
    INFO("id \"" << text << "\"");
    const ExecutorId id(text);
    StartRequest request = f.subject->request("good");
    request.spec.id = id;
    const auto started = f.driver->start(request);
    const auto inspected = f.driver->inspect(id);
    const auto stopped = f.driver->stop(id, seconds(1));
    const auto destroyed = f.driver->destroy(id);
    for (const Error* error :
         {started ? nullptr : &started.error(), inspected ? nullptr : &inspected.error(),
          stopped ? nullptr : &stopped.error(), destroyed ? nullptr : &destroyed.error()}) {
      REQUIRE(error != nullptr);
      CHECK(error->code == ErrorCode::invalid_input);
      CHECK(error->outcome == Outcome::failed);
    }
    auto* delivery = dynamic_cast<TicketDelivery*>(f.driver.get());
    CHECK_FALSE(delivery->deliver_ticket(id, request.ticket));
  }
  f.expect_nothing_left({});
}

TEST_CASE("driver: two owners on one machine never touch each other's executors", "[contract][drivers]") {
  Fixture f;
  const auto other = f.subject->make_driver("owner-b");
  f.start("e1");
  const InstanceHandle handle = f.driver->inspect(ExecutorId("e1"))->handle;
  CHECK(other->list()->empty());
  CHECK(other->inspect(ExecutorId("e1"))->state == InstanceState::absent);
  CHECK(other->recover(handle)->state == InstanceState::absent);
  CHECK(other->stop(ExecutorId("e1"), milliseconds(10)));
  const auto destroyed = other->destroy(ExecutorId("e1"));
  REQUIRE_FALSE(destroyed);
  CHECK(destroyed.error().code == ErrorCode::conflict);
  const auto started = other->start(f.subject->request("e1"));
  REQUIRE_FALSE(started);
  CHECK(started.error().code == ErrorCode::conflict);
  CHECK(f.state("e1") == InstanceState::running);
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  const auto own = other->start(f.subject->request("e2"));
  REQUIRE(own);
  CHECK(f.driver->list()->size() == 1);
  CHECK(f.state("e2") == InstanceState::absent);
  CHECK(other->destroy(ExecutorId("e2")));
  CHECK(f.subject->times_made("e1") == 1);
  f.expect_nothing_left({"e1"});
}

TEST_CASE("driver: a missing image fails clean, and does not burn the id", "[contract][drivers]") {
  Fixture f;
  StartRequest request = f.subject->request("e1");
  request.spec.image = "nowhere";
  const auto failed = f.driver->start(request);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == ErrorCode::not_found);
  CHECK(failed.error().outcome == Outcome::failed);
  CHECK(failed.error().message.find("nowhere") != std::string::npos);
  f.expect_nothing_left({});
  f.driver = f.subject->make_driver("owner-a");
  request.spec.id = ExecutorId("e2");
  request.spec.image = "";
  CHECK(f.driver->start(request));
  f.expect_nothing_left({"e2"});
}

TEST_CASE("driver: changes are told", "[contract][drivers]") {
  Fixture f;
  auto* source = dynamic_cast<ChangeSource*>(f.driver.get());
  REQUIRE(source != nullptr);
  std::atomic<bool> has_connected{false}, has_ended{false};
  source->set_change_listener([&](const ExecutorId& id) {
    const auto instance = f.driver->inspect(id);
    if (!instance) return;
    if (instance->agent == AgentPhase::connected) has_connected = true;
    if (instance->agent == AgentPhase::ended) has_ended = true;
  });
  // What came before a start was over is told by the start.
  if (f.start("e1", Behaviour::connects).agent == AgentPhase::connected) has_connected = true;
  CHECK(wait_until([&] { return has_connected.load(); }));
  if (f.start("e2", Behaviour::ends_with_7).agent == AgentPhase::ended) has_ended = true;
  CHECK(wait_until([&] { return has_ended.load(); }));
  source->set_change_listener(nullptr);
  f.expect_nothing_left({"e1", "e2"});
}

TEST_CASE("driver: different executors from different threads", "[contract][drivers]") {
  Fixture f;
  std::vector<StartRequest> requests;
  for (int i = 0; i < 6; ++i) requests.push_back(f.subject->request("e" + std::to_string(i)));
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (const StartRequest& request : requests) {
    threads.emplace_back([&f, &good, request] {
      const ExecutorId& id = request.spec.id;
      const bool is_good = f.driver->start(request) && f.driver->stop(id, seconds(5)) &&
                           f.driver->destroy(id) && f.driver->inspect(id)->state == InstanceState::absent;
      good += is_good ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 6);
  f.expect_nothing_left({});
}

}  // namespace contract_test
