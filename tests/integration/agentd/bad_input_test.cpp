// Whatever is wrong with a request gets one error that names the place, and changes nothing.
#include <fstream>

#include "tests/integration/agentd/fixture.h"

namespace bad_input_test {

using namespace skep;
using namespace skep::agentd;
using namespace skep::test;
using json::Json;

namespace {

/// Values that are of another kind than this one.
std::vector<Json> wrong_values(const Json& good) {
  std::vector<Json> all{true, Json::array({1}), Json::object({{"x", Json::array()}}), 7, -1, "text", 1.5};
  std::vector<Json> wrong;
  for (const Json& value : all) {
    const bool is_same_kind = (good.is_string() && value.is_string()) ||
                              (good.is_number_integer() && value == 7) ||
                              (good.is_boolean() && value.is_boolean()) ||
                              (good.is_object() && value.is_object() && !good.contains("COLOUR") &&
                               !good.contains("licence"));  // any object will do, with its fields missing
    if (!is_same_kind) wrong.push_back(value);
  }
  return wrong;
}

struct Damage {
  std::string key;  // of the field that is damaged
  Json body;
};

/// Every way to put one wrong value into one place of `good`.
std::vector<Damage> damages(const Json& good, const Json::json_pointer& place = Json::json_pointer()) {
  std::vector<Damage> all;
  for (const auto& [key, value] : good.at(place).items()) {
    for (const Json& wrong : wrong_values(value)) {
      Json body = good;
      body[place / key] = wrong;
      all.push_back({key, std::move(body)});
    }
    if (!value.is_object()) continue;
    for (Damage& inner : damages(good, place / key)) all.push_back(std::move(inner));
  }
  return all;
}

ExecutorOrder full_order() {
  ExecutorOrder order = make_order("a1", "memory");
  order.spec.resources.countable["licence"] = 1;
  order.spec.environment["COLOUR"] = "blue";
  order.spec.agent_command = {"agent", "{url}"};
  return order;
}

}  // namespace

TEST_CASE("agentd: a wrong value in any field of an order or renewal is named", "[integration][agentd]") {
  Fixture f;
  f.start();
  const std::uint64_t index = f.api->report()->index;
  const Json order = json::encode(full_order());
  const Json renewal = json::encode(LeaseRenewal{1, seconds(60), {}});
  std::size_t count = 0;
  const auto expect_refused = [&](const std::string& method, const std::string& target,
                                  const Damage& damage) {
    const std::string body = json::dump(damage.body);
    INFO(damage.key << " in " << body);
    const http::Reply reply = f.api->call(method, target, body);
    CHECK(reply.status == 400);
    const auto error = error_in(reply);
    REQUIRE(error);
    INFO(error->message);
    CHECK(error->code == ErrorCode::invalid_input);
    // A map or list is named as a whole; an id that is of the right kind is compared with the path.
    const bool is_named =
        error->message.find(damage.key) != std::string::npos ||
        error->message.find("countable") != std::string::npos ||
        error->message.find("environment") != std::string::npos ||
        (damage.key == "executors" && error->message.find("lease is no") != std::string::npos);
    CHECK(is_named);
    CHECK(reply.body.find("secret-of") == std::string::npos);
    ++count;
  };
  for (const Damage& damage : damages(order)) expect_refused("PUT", "v1/executors/a1", damage);
  for (const Damage& damage : damages(renewal)) {
    expect_refused("POST", "v1/leases", damage);
  }
  CHECK(count > 100);
  CHECK(f.api->report()->index == index);
  CHECK(f.host->starts.empty());
}

TEST_CASE("agentd: a field that only a newer scheduler knows is no error; one field twice is",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  Json order = json::encode(make_order("a1", "memory"));
  const std::string twice = json::dump(order).insert(1, R"("epoch":1,)");
  CHECK(f.api->call("PUT", "v1/executors/a1", twice).status == 400);
  std::string deep = json::dump(order);
  deep.insert(1, R"("x":)" + std::string(500, '[') + std::string(500, ']') + ",");
  CHECK(f.api->call("PUT", "v1/executors/a1", deep).status == 400);
  CHECK(f.api->state("a1") == ExecutorState::gone);
  order["from_the_future"] = 1;
  order["spec"]["from_the_future"] = Json::array();
  CHECK(f.api->call("PUT", "v1/executors/a1", json::dump(order)).status == 202);
}

TEST_CASE("agentd: an older leader's orders are refused by every verb and change nothing",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  CHECK(f.api->put(make_order("a1", "memory", 5)).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  f.driver->set_agent("a1", AgentPhase::connected);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::idle; }));
  const std::uint64_t index = f.api->report()->index;
  ExecutorOrder again = make_order("a1", "memory", 4);
  again.ticket.attempt = 9;
  const std::vector<http::Reply> replies{
      f.api->put(make_order("a2", "memory", 4)), f.api->put(again), f.api->destroy("a1", 4),
      f.api->destroy("a9", 4),
      f.api->call("POST", "v1/leases",
                  json::dump(json::encode(LeaseRenewal{4, seconds(1), {{ExecutorId("a1"), false}}})))};
  for (const http::Reply& reply : replies) {
    INFO(reply.body);
    CHECK(reply.status == 409);
    REQUIRE(error_in(reply));
    CHECK(error_in(reply)->code == ErrorCode::stale_epoch);
    CHECK(json::parse_strict(reply.body)->at("epoch") == 5);
  }
  CHECK(f.api->report()->index == index);
  CHECK(f.host->starts.size() == 1);
  CHECK(f.host->instances.at("a1").ticket_attempt == 1);
}

TEST_CASE("agentd: without the right token no route does or tells anything", "[integration][agentd]") {
  Fixture f;
  const std::string token_file = f.folder.path("token");
  std::ofstream(token_file) << "correct-horse";
  std::filesystem::permissions(token_file,
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  f.config.token_file = token_file;
  f.launch();
  const Api good(f.daemon->url(), "correct-horse");
  REQUIRE(wait_until([&] { return good.destroy("never-seen", 1).status == 200; }));
  CHECK(good.put(make_order("a1", "memory")).status == 202);
  REQUIRE(wait_until([&] { return good.state("a1") == ExecutorState::booting; }));
  const std::uint64_t index = good.report()->index;
  const std::string order = json::dump(json::encode(make_order("a2", "memory", 99)));
  for (const char* token : {"", "wrong", "correct-hors", "correct-horse2", "CORRECT-HORSE"}) {
    const Api bad(f.daemon->url(), token);
    const std::vector<http::Reply> replies{
        bad.call("PUT", "v1/executors/a2", order),
        bad.call("PUT", "v1/executors/a2", "{"),
        bad.call("DELETE", "v1/executors/a1?epoch=99"),
        bad.call("GET", "v1/executors"),
        bad.call("GET", "v1/executors?index=" + std::to_string(index) + "&wait=60s"),
        bad.call("GET", "v1/host"),
        bad.call("POST", "v1/leases", R"({"epoch":99,"executors":[]})"),
        bad.call("POST", "v1/drain", "{}"),
        bad.call("POST", "v1/undrain", "{}"),
        bad.call("GET", "metrics"),
        bad.call("GET", "v1/nothing")};
    for (const http::Reply& reply : replies) {
      INFO("token \"" << token << "\": " << reply.body);
      CHECK(reply.status == 401);
      CHECK(reply.body.find("a1") == std::string::npos);
      CHECK(reply.body.find("correct-horse") == std::string::npos);
    }
  }
  const auto report = good.report();
  REQUIRE(report);
  CHECK(report->index == index);
  CHECK(report->epoch_seen == 1);
  CHECK_FALSE(report->is_draining);
  CHECK(f.host->starts.size() == 1);
}

TEST_CASE("agentd: a blocking query of another life of agentd is answered at once", "[integration][agentd]") {
  Fixture f;
  f.start();
  for (const char* index : {"0", "18446744073709551615"})
    CHECK(f.api->report("?index=" + std::string(index) + "&wait=60s"));
  const std::uint64_t index = f.api->report()->index;
  f.stop();
  f.start();
  const auto report = f.api->report("?index=" + std::to_string(index) + "&wait=60s");
  REQUIRE(report);
  CHECK(report->index > index);  // nobody mistakes a new life for the old one
  for (const char* bad :
       {"?index=18446744073709551616&wait=1s", "?index=1.5", "?index=&wait=1s", "?index=1&wait=-1s"})
    CHECK(f.api->call("GET", "v1/executors" + std::string(bad)).status == 400);
}

}  // namespace bad_input_test
