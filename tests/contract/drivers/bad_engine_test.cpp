// The container driver against an engine that is down, slow, or lies: one clear error each, never "nothing
// there".
#include <catch2/catch.hpp>

#include <atomic>
#include <functional>

#include "drivers/container/container_driver.h"
#include "tests/contract/drivers/subject.h"
#include "tests/support/raw_peer.h"

namespace bad_engine_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string digest = "sha256:" + std::string(64, 'a');
const std::string hex_id = std::string(64, 'b');
const std::string version = R"({"Version":"1","ApiVersion":"1.41","MinAPIVersion":"1.12"})";
const std::string image = R"({"Id":")" + digest + R"("})";

/// What an engine answers to one request, as bytes: http_reply(), or part of one; empty: the connection ends.
using Script = std::function<std::string(const std::string& request)>;

std::string container_text(const std::string& status, const std::string& id = "e1",
                           const std::string& of = digest) {
  return R"({"Id":")" + hex_id + R"(","Image":")" + of + R"(","State":{"Status":")" + status +
         R"("},"Config":{"Labels":{"skep.owner":"owner-a","skep.executor":")" + id +
         R"(","skep.epoch":"3"}}})";
}

struct ScriptedEngine {
  explicit ScriptedEngine(Script script)
      : server(
            [script = std::move(script), this](RawConnection& connection) {
              const std::string request = connection.read_message();
              if (request.rfind("GET /version ", 0) == 0) {
                connection.write(http_reply(version));
                return;
              }
              ++asked;
              const std::string answer = script(request);
              if (answer == "hang") {
                connection.read_to_end();
              } else {
                connection.write(answer);
              }
            },
            folder.path("socket")) {}
  std::unique_ptr<Driver> driver(Duration call_deadline = seconds(10)) {
    ContainerDriverOptions options;
    options.socket = folder.path("socket");
    options.root = folder.path("executors");
    options.images = {{"base", digest}};
    options.owner_tag = "owner-a";
    options.call_deadline = call_deadline;
    options.kill_deadline = milliseconds(50);
    return make_container_driver(options);
  }
  TempFolder folder{"engine"};
  std::atomic<int> asked{0};
  RawServer server;
};

bool is_for(const std::string& request, const std::string& start) {
  return request.rfind(start, 0) == 0;
}

/// An engine with nothing on it that makes what it is asked for; `strange` answers first when it has
/// something to say.
Script good_but(const std::function<std::string(const std::string&)>& strange) {
  return [strange](const std::string& request) -> std::string {
    if (const std::string answer = strange(request); !answer.empty()) return answer == "cut" ? "" : answer;
    if (is_for(request, "GET /v1.41/containers/json")) return http_reply("[]");
    if (is_for(request, "GET /v1.41/images/")) return http_reply(image);
    if (is_for(request, "POST /v1.41/containers/create"))
      return http_reply(R"({"Id":")" + hex_id + R"(","Warnings":[]})", "", "201 Created");
    if (is_for(request, "GET /v1.41/containers/" + hex_id)) return http_reply(container_text("created"));
    if (is_for(request, "GET /v1.41/containers/")) return http_reply("{}", "", "404 Not Found");
    return "HTTP/1.1 204 No Content\r\n\r\n";
  };
}

void expect_unseen(Driver& driver) {
  const auto listed = driver.list();
  const auto inspected = driver.inspect(ExecutorId("e1"));
  const auto stopped = driver.stop(ExecutorId("e1"), milliseconds(10));
  const auto destroyed = driver.destroy(ExecutorId("e1"));
  REQUIRE_FALSE(listed);
  REQUIRE_FALSE(inspected);
  REQUIRE_FALSE(stopped);
  REQUIRE_FALSE(destroyed);
  CHECK(listed.error().outcome == Outcome::unknown);
  CHECK(inspected.error().outcome == Outcome::unknown);
  CHECK(stopped.error().outcome != Outcome::failed);
  CHECK(destroyed.error().outcome != Outcome::failed);
  CHECK(inspected.error().message.find("e1") != std::string::npos);
}

}  // namespace

TEST_CASE("container driver: an engine that is not there is not an empty one",
          "[contract][drivers][container]") {
  TempFolder folder("engine");
  ContainerDriverOptions options;
  options.socket = folder.path("nobody");
  options.root = folder.path("executors");
  options.images = {{"base", digest}};
  const auto driver = make_container_driver(options);
  const auto report = driver->probe();
  REQUIRE(report);
  CHECK_FALSE(report->is_usable);
  CHECK(report->detail.find(options.socket) != std::string::npos);
  expect_unseen(*driver);
  CHECK_FALSE(driver->start(plain_request("e2")));
}

TEST_CASE("container driver: whatever an engine says instead of a list, nothing is taken for gone",
          "[contract][drivers][container]") {
  const std::string answer = GENERATE(
      std::string(), std::string("hang"), std::string("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n["),
      std::string("nonsense\r\n\r\n"), http_reply("{}", "", "500 Internal Server Error"),
      http_reply("{}", "", "404 Not Found"), http_reply("{}", "", "409 Conflict"), http_reply(""),
      http_reply("{}"), http_reply("null"), http_reply("[{}]"), http_reply("[{\"Id\":\"x\"}]"),
      http_reply(R"([{"Id":")" + hex_id + R"(","Labels":{"skep.owner":"owner-b"}}])"),
      http_reply("[]", "", "204 No Content"), http_reply("[]", "", "302 Found"));
  INFO(answer.substr(0, 100));
  ScriptedEngine engine(good_but([answer](const std::string& request) {
    if (!is_for(request, "GET /v1.41/containers/json")) return std::string();
    return answer.empty() ? std::string("cut") : answer;
  }));
  const auto driver = engine.driver(answer == "hang" ? Duration(milliseconds(50)) : Duration(seconds(10)));
  expect_unseen(*driver);
  const auto started = driver->start(plain_request("e2"));
  REQUIRE_FALSE(started);
  CHECK(started.error().outcome == Outcome::unknown);
}

TEST_CASE("container driver: an engine that refuses, breaks off or lies while one is made",
          "[contract][drivers][container]") {
  struct Case {
    std::string request, answer, told;
    Outcome outcome;
  };
  const std::string create = "POST /v1.41/containers/create",
                    start = "POST /v1.41/containers/" + hex_id + "/start",
                    look = "GET /v1.41/containers/" + hex_id, look_at_image = "GET /v1.41/images/";
  const std::string down = "500 Internal Server Error";
  const Case bad = GENERATE_COPY(values<Case>({
      {look_at_image, http_reply("{}", "", "404 Not Found"), "\"base\"", Outcome::failed},
      {look_at_image, http_reply(R"({"Id":"sha256:)" + std::string(64, 'c') + "\"}"), "shows another",
       Outcome::failed},
      {look_at_image, http_reply("{}", "", down), digest, Outcome::try_again},
      {look_at_image, "cut", digest, Outcome::try_again},
      {create, http_reply(R"({"message":"invalid mode"})", "", "400 Bad Request"), "invalid mode",
       Outcome::failed},
      {create, http_reply(R"({"message":"name in use"})", "", "409 Conflict"), "skep-e1", Outcome::failed},
      {create, http_reply(R"({"message":"oops"})", "", down), "oops", Outcome::failed},
      {create, http_reply("{}", "", "503 Service Unavailable"), "skep-e1", Outcome::try_again},
      {create, "cut", "skep-e1", Outcome::try_again},
      {create, "hang", "skep-e1", Outcome::unknown},
      {create, http_reply("{}", "", "201 Created"), "no id", Outcome::try_again},
      {create, http_reply("{}"), "200", Outcome::try_again},
      {look, http_reply(container_text("created", "other")), "not what was asked for", Outcome::failed},
      {look, http_reply(container_text("created", "e1", "sha256:" + std::string(64, 'd'))),
       "not what was asked for", Outcome::failed},
      {look, http_reply("{}", "", "404 Not Found"), "not what was asked for", Outcome::failed},
      {start, http_reply(R"({"message":"exec: not found"})", "", "400 Bad Request"), "exec: not found",
       Outcome::failed},
      {start, http_reply(R"({"message":"oops"})", "", down), "oops", Outcome::failed},
      {start, "cut", "cannot start", Outcome::try_again},
  }));
  INFO(bad.request << " -> " << bad.answer);
  ScriptedEngine engine(good_but([bad](const std::string& request) {
    return is_for(request, bad.request) ? bad.answer : std::string();
  }));
  const auto driver =
      engine.driver(bad.answer == "hang" ? Duration(milliseconds(50)) : Duration(seconds(10)));
  const auto started = driver->start(plain_request("e1"));
  REQUIRE_FALSE(started);
  INFO(started.error().message);
  CHECK(started.error().message.find(bad.told) != std::string::npos);
  CHECK(started.error().outcome == bad.outcome);
  CHECK(driver->inspect(ExecutorId("e1"))->state == InstanceState::absent);
  CHECK(driver->destroy(ExecutorId("e1")));
}

TEST_CASE("container driver: what cannot be removed is not called gone", "[contract][drivers][container]") {
  const std::string list =
      R"([{"Id":")" + hex_id + R"(","Labels":{"skep.owner":"owner-a","skep.executor":"e1"}}])";
  const std::string answer =
      GENERATE(http_reply("{}", "", "500 Internal Server Error"), std::string("cut"),
               std::string("HTTP/1.1 204 No Content\r\n\r\n"), http_reply("{}", "", "409 Conflict"));
  ScriptedEngine engine(good_but([&](const std::string& request) -> std::string {
    if (is_for(request, "GET /v1.41/containers/json")) return http_reply(list);
    if (is_for(request, "GET /v1.41/containers/" + hex_id)) return http_reply(container_text("running"));
    return is_for(request, "DELETE ") ? answer : std::string();
  }));
  const auto driver = engine.driver();
  const auto destroyed = driver->destroy(ExecutorId("e1"));
  REQUIRE_FALSE(destroyed);
  CHECK(destroyed.error().outcome != Outcome::failed);
  CHECK(driver->inspect(ExecutorId("e1"))->state == InstanceState::running);
  CHECK(driver->list()->size() == 1);
}

TEST_CASE("container driver: events that break off begin again, and what was missed is looked for",
          "[contract][drivers][container]") {
  const std::string list =
      R"([{"Id":")" + hex_id + R"(","Labels":{"skep.owner":"owner-a","skep.executor":"e1"}}])";
  const std::string event =
      R"({"Type":"container","Action":"die","Actor":{"Attributes":{"skep.owner":"owner-a","skep.executor":"told"}}})";
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string answer =
      GENERATE_COPY(head + "1000\r\nnonsense\n" + event + "\n", head, http_reply(event + "\n"));
  std::atomic<int> streams{0};
  ScriptedEngine engine(good_but([&](const std::string& request) -> std::string {
    if (is_for(request, "GET /v1.41/events?")) return ++streams, answer;
    if (is_for(request, "GET /v1.41/containers/json")) return http_reply(list);
    return is_for(request, "GET /v1.41/containers/") ? http_reply(container_text("running")) : std::string();
  }));
  const auto driver = engine.driver();
  std::atomic<int> listed{0}, told{0};
  auto* source = dynamic_cast<ChangeSource*>(driver.get());
  source->set_change_listener([&](const ExecutorId& id) { ++(id.text == "told" ? told : listed); });
  CHECK(wait_until([&] { return streams >= 3 && listed >= 3; }));
  if (answer != head) CHECK(wait_until([&] { return told >= 2; }));
  source->set_change_listener(nullptr);
}

TEST_CASE("container driver: events that are refused or never come hold nobody up",
          "[contract][drivers][container]") {
  const std::string answer =
      GENERATE(std::string("hang"), std::string("cut"), http_reply("{}", "", "500 Internal Server Error"));
  std::atomic<int> streams{0};
  ScriptedEngine engine(good_but([&](const std::string& request) -> std::string {
    return is_for(request, "GET /v1.41/events?") ? (++streams, answer) : std::string();
  }));
  auto driver = engine.driver(minutes(10));
  dynamic_cast<ChangeSource*>(driver.get())->set_change_listener([](const ExecutorId&) {});
  CHECK(wait_until([&] { return streams >= (answer == "hang" ? 1 : 2); }));
  CHECK(driver->list()->empty());
  driver.reset();  // ends the stream, however long it may take
}

TEST_CASE("container driver: a configuration that cannot work is told by every verb",
          "[contract][drivers][container]") {
  ContainerDriverOptions options;
  options.socket = "/nowhere";
  options.root = "/tmp/skep-never-made";
  options.images = {{"base", digest}};
  const std::string part = GENERATE("image", "user", "networks", "root", "owner");
  if (part == "image") options.images["tagged"] = "debian:12";
  if (part == "user") options.user = "root";
  if (part == "networks") options.networks.clear();
  if (part == "root") options.root = "relative";
  if (part == "owner") options.owner_tag = "a/b";
  const auto driver = make_container_driver(options);
  CHECK_FALSE(driver->probe()->is_usable);
  CHECK(driver->start(plain_request("e1")).error().code == ErrorCode::invalid_input);
  CHECK(driver->inspect(ExecutorId("e1")).error().code == ErrorCode::invalid_input);
  CHECK(driver->destroy(ExecutorId("e1")).error().code == ErrorCode::invalid_input);
  CHECK_FALSE(std::filesystem::exists(options.root));
}

}  // namespace bad_engine_test
