// Answers that no recording holds: of proxies, of login pages, of controllers in trouble. A read that is not
// wholly understood is unknown, never empty; and the next good answer is taken as if nothing had been.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/contract/jenkins/clients.h"

namespace skep::scheduler::awkward_test {
namespace {

using controller_sim::FaultKind;
using controller_sim::Options;

const http::Headers json_headers{{"X-Jenkins", "2.528.3"},
                                 {"X-Jenkins-Session", "5e551011"},
                                 {"Content-Type", "application/json;charset=utf-8"}};
const http::Headers jenkins_page{
    {"X-Jenkins", "2.528.3"}, {"X-Jenkins-Session", "5e551011"}, {"Content-Type", "text/html;charset=utf-8"}};
const http::Headers foreign_page{{"Server", "nginx"}, {"Content-Type", "text/html"}};

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  INFO(what << " in " << text.substr(0, 300));
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

struct Awkward {
  std::string what;
  Result<http::Reply> reply;
  ErrorCode code;
};

/// What any address may answer, whatever was asked.
std::vector<Awkward> awkward_everywhere() {
  const std::string page = "<!DOCTYPE html><html><body>We are back soon</body></html>";
  const auto redirect = [](int status, const std::string& location) {
    return reply_of(status, {{"Location", location}}, "");
  };
  std::vector<Awkward> out{
      {"HTML with 200", reply_of(200, foreign_page, page), ErrorCode::malformed_reply},
      {"HTML of Jenkins with 200", reply_of(200, jenkins_page, page), ErrorCode::malformed_reply},
      {"HTML that says it is JSON", reply_of(200, json_headers, page), ErrorCode::malformed_reply},
      {"no content type", reply_of(200, {{"X-Jenkins", "2.528.3"}, {"X-Jenkins-Session", "s"}}, "{}"),
       ErrorCode::malformed_reply},
      {"204", reply_of(204, {}, ""), ErrorCode::malformed_reply},
      {"206", reply_of(206, json_headers, "{}"), ErrorCode::malformed_reply},
      {"redirect to Jenkins' login", redirect(302, "/login?from=%2Fqueue%2Fapi%2Fjson"),
       ErrorCode::unauthenticated},
      {"redirect to a login realm", redirect(302, "/jenkins/securityRealm/commenceLogin?from=%2F"),
       ErrorCode::unauthenticated},
      {"redirect to single sign-on", redirect(303, "https://sso.example/oauth2/authorize?client=x"),
       ErrorCode::unauthenticated},
      {"redirect by a temporary one", redirect(307, "https://sso.example/login"), ErrorCode::unauthenticated},
      {"redirect to https", redirect(301, "https://ci.example/jenkins/queue/api/json"),
       ErrorCode::malformed_reply},
      {"redirect without an address", reply_of(302, {}, ""), ErrorCode::malformed_reply},
      {"401 of a proxy", reply_of(401, {{"WWW-Authenticate", "Negotiate"}}, ""), ErrorCode::unauthenticated},
      {"403 of a proxy", reply_of(403, foreign_page, "blocked"), ErrorCode::permission_denied},
      {"404 of a proxy", reply_of(404, foreign_page, "nginx"), ErrorCode::not_found},
      {"429", reply_of(429, {{"Retry-After", "5"}}, "slow down"), ErrorCode::unavailable},
      {"500 of Jenkins", reply_of(500, jenkins_page, "A problem occurred"), ErrorCode::unavailable},
      {"502", reply_of(502, foreign_page, "bad gateway"), ErrorCode::unavailable},
      {"503 without X-Jenkins",
       reply_of(503, foreign_page, "Please wait while Jenkins is getting ready to work"),
       ErrorCode::unavailable},
      {"503 with X-Jenkins", reply_of(503, jenkins_page, "overloaded"), ErrorCode::unavailable},
      {"504", reply_of(504, foreign_page, "gateway timeout"), ErrorCode::unavailable},
      {"refused", Error::try_again(ErrorCode::unavailable, "connection refused"), ErrorCode::unavailable},
      {"broken", Error::unknown(ErrorCode::unavailable, "the connection broke"), ErrorCode::unavailable},
      {"late", Error::unknown(ErrorCode::timed_out, "no answer within 30 s"), ErrorCode::timed_out},
      {"too large", Error::unknown(ErrorCode::too_large, "more than 64 MiB"), ErrorCode::too_large},
  };
  return out;
}

/// The good answer, damaged; `number` and `flag` are members that it holds.
std::vector<Awkward> damaged(const std::string& good, const std::string& number, const std::string& flag) {
  const std::string number_key = number.substr(0, number.find(':') + 1),
                    flag_key = flag.substr(0, flag.find(':') + 1);
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  const std::pair<const char*, std::string> bodies[] = {
      {"empty", ""},
      {"half", good.substr(0, good.size() / 2)},
      {"all but the last byte", good.substr(0, good.size() - 1)},
      {"null", "null"},
      {"a list", "[" + good + "]"},
      {"an empty object", "{}"},
      {"twice", good + good},
      {"text behind it", good + "<!-- proxy -->"},
      {"a byte order mark", "\xEF\xBB\xBF" + good},
      {"a number as text", replaced(good, number, number_key + "\"7\"")},
      {"a number with a fraction", replaced(good, number, number_key + "7.5")},
      {"a number that overflows", replaced(good, number, number_key + "123456789012345678901234567890")},
      {"a flag as number", replaced(good, flag, flag_key + "0")},
      {"a flag as text", replaced(good, flag, flag_key + "\"false\"")},
      {"a flag that is null", replaced(good, flag, flag_key + "null")},
      {"a key twice", replaced(good, flag, flag + "," + flag)},
      {"a key twice in what is skipped", replaced(good, flag, flag + ",\"other\":{\"a\":1,\"a\":2}")},
      {"nested without end", replaced(good, flag, flag + ",\"other\":" + deep)},
      {"broken UTF-8", replaced(good, flag, flag + ",\"other\":\"\xC3\x28\"")},
      {"a half surrogate pair", replaced(good, flag, flag + ",\"other\":\"\\ud800\"")},
      {"an overlong form", replaced(good, flag, flag + ",\"other\":\"\xC0\xAF\"")},
      {"a control character", replaced(good, flag, flag + ",\"other\":\"a\nb\"")},
      {"NaN", replaced(good, number, number_key + "NaN")},
      {"single quotes", replaced(good, flag, "'" + flag_key.substr(1, flag_key.size() - 3) + "':false")},
  };
  std::vector<Awkward> out;
  for (const auto& [what, body] : bodies)
    out.push_back({what, reply_of(200, json_headers, body), ErrorCode::malformed_reply});
  out.push_back({"not of a Jenkins", reply_of(200, {{"Content-Type", "application/json"}}, good),
                 ErrorCode::malformed_reply});
  out.push_back({"of a Jenkins without a session",
                 reply_of(200, {{"X-Jenkins", "2.528.3"}, {"Content-Type", "application/json"}}, good),
                 ErrorCode::malformed_reply});
  return out;
}

/// good, awkward, good: the second is unknown, the third is as the first.
template <typename Read>
void check_between_two_good(const http::Reply& good, const std::vector<Awkward>& all, Read read) {
  for (const Awkward& awkward : all) {
    INFO(awkward.what);
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{good, awkward.reply, good});
    const auto first = read(adapter.controller);
    REQUIRE(first);
    const auto second = read(adapter.controller);
    REQUIRE_FALSE(second);
    CHECK(second.error().outcome == Outcome::unknown);
    CHECK(static_cast<int>(second.error().code) == static_cast<int>(awkward.code));
    CHECK_FALSE(second.error().message.empty());
    CHECK(second.error().message.size() < 400);  // a page never gets into a log
    const auto third = read(adapter.controller);
    REQUIRE(third);
    CHECK(*third == *first);
    CHECK(adapter.client.is_used_up());
  }
}

std::vector<Awkward> joined(std::vector<Awkward> a, const std::vector<Awkward>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct FaultRow {
  FaultKind kind;
  std::int64_t value;
  bool is_read_right;
};

using Farm = Adapter<ModelClient>;

/// The next request to this address meets the fault.
void fail_once(Farm& farm, const FaultRow& row, const std::string& path) {
  farm.client.model().misbehave({path, row.kind, row.value, 1});
}

void check_reads(Farm& farm, const FaultRow& row) {
  fail_once(farm, row, "queue/api");
  const auto queue = farm.controller.read_queue();
  CHECK(queue.has_value() == row.is_read_right);
  if (!queue) CHECK(queue.error().outcome == Outcome::unknown);
  const auto again = farm.controller.read_queue();
  REQUIRE(again);
  CHECK(again->items.size() == 1);

  fail_once(farm, row, "computer/api");
  const auto nodes = farm.controller.read_nodes();
  CHECK(nodes.has_value() == row.is_read_right);
  if (!nodes) CHECK(nodes.error().outcome == Outcome::unknown);
  CHECK(farm.controller.read_nodes());
}

/// An order: what is called failed or try_again must not have happened, what is called done must have.
void check_creation(Farm& farm, const FaultRow& row) {
  CreateNode order;
  order.node = ExecutorId("farm-a");
  order.labels = "linux";
  fail_once(farm, row, "plugin/swarm");
  const auto created = farm.controller.create_node(order);
  const auto names = farm.client.model().node_names();
  const bool is_there = std::find(names.begin(), names.end(), "farm-a") != names.end();
  if (created) {
    CHECK(is_there);
  } else if (created.error().outcome != Outcome::unknown) {
    CHECK_FALSE(is_there);
  }
  if (!is_there) REQUIRE(farm.controller.create_node(order));
}

void check_gate(Farm& farm, const FaultRow& row) {
  for (const bool closes : {true, false}) {
    if (!closes) REQUIRE(farm.controller.close_gate("farm-a", "gate"));
    fail_once(farm, row, "computer/farm-a");
    const auto done = [&]() -> Result<void> {
      if (closes) return farm.controller.close_gate("farm-a", "gate");
      const auto opened = farm.controller.open_gate("farm-a");
      return opened ? Result<void>() : opened.error();
    }();
    const auto state = farm.controller.poll_node("farm-a");
    REQUIRE((state && state->has_value()));
    if (done) {
      CHECK((*state)->is_temporarily_offline == closes);
    } else if (done.error().outcome != Outcome::unknown) {
      CHECK((*state)->is_temporarily_offline != closes);
    }
    if (closes && (*state)->is_temporarily_offline) REQUIRE(farm.controller.open_gate("farm-a"));
  }
}

void check_deletion(Farm& farm, const FaultRow& row) {
  fail_once(farm, row, "computer/farm-a");
  const auto deleted = farm.controller.delete_node("farm-a");
  const auto left = farm.client.model().node_names();
  const bool is_left = std::find(left.begin(), left.end(), "farm-a") != left.end();
  const bool says_gone =
      row.kind == FaultKind::status && row.value == 404;  // a Jenkins that says so is believed
  if (deleted && !says_gone) CHECK_FALSE(is_left);
  if (!deleted && deleted.error().outcome != Outcome::unknown) CHECK(is_left);
}

}  // namespace

TEST_CASE("reading the queue between two good answers", "[contract]") {
  const http::Reply good =
      reply_of(recordings::of("jenkins-2.528.3/03-why-texts.json").step("two matching nodes, offline"));
  std::vector<Awkward> all =
      joined(awkward_everywhere(), damaged(good.body, "\"id\":14", "\"blocked\":false"));
  all.push_back({"two items with one id", json_reply(replaced(good.body, "\"id\":14", "\"id\":13")),
                 ErrorCode::malformed_reply});
  all.push_back({"no items", json_reply(R"({"_class":"hudson.model.Queue"})"), ErrorCode::malformed_reply});
  all.push_back({"items are null", json_reply(R"({"items":null})"), ErrorCode::malformed_reply});
  all.push_back({"404 of Jenkins", reply_of(404, jenkins_page, "Not Found"), ErrorCode::not_found});
  check_between_two_good(good, all, [](JenkinsController& controller) -> Result<std::vector<QueueItem>> {
    auto queue = controller.read_queue();
    if (!queue) return queue.error();
    return std::move(queue->items);
  });
}

TEST_CASE("reading the nodes between two good answers", "[contract]") {
  const http::Reply good =
      reply_of(recordings::of("jenkins-2.528.3/04-why-busy-and-reserved.json").step("n1 busy: computers"));
  std::vector<Awkward> all =
      joined(awkward_everywhere(), damaged(good.body, "\"numExecutors\":1", "\"offline\":false"));
  all.push_back({"an empty list: not even the built-in node", json_reply(R"({"computer":[]})"),
                 ErrorCode::malformed_reply});
  all.push_back({"404 of Jenkins", reply_of(404, jenkins_page, "Not Found"), ErrorCode::not_found});
  check_between_two_good(good, all, [](JenkinsController& controller) -> Result<std::vector<NodeFact>> {
    auto nodes = controller.read_nodes();
    if (!nodes) return nodes.error();
    return std::move(nodes->nodes);
  });
}

TEST_CASE("looking at one node between two good answers", "[contract]") {
  const http::Reply good = json_reply(
      R"({"_class":"hudson.slaves.SlaveComputer","displayName":"n1","executors":[{"currentExecutable":null,"idle":true,"number":0}],)"
      R"("idle":true,"numExecutors":1,"offline":false,"offlineCauseReason":"","temporarilyOffline":false,"absoluteRemotePath":"/home/agent"})");
  std::vector<Awkward> all =
      joined(awkward_everywhere(), damaged(good.body, "\"numExecutors\":1", "\"offline\":false"));
  all.push_back(
      {"another node", json_reply(replaced(good.body, "\"n1\"", "\"n2\"")), ErrorCode::malformed_reply});
  check_between_two_good(good, all, [](JenkinsController& controller) { return controller.poll_node("n1"); });
  // Only Jenkins itself can say that it is gone.
  Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{reply_of(404, jenkins_page, "Not Found")});
  const auto gone = adapter.controller.poll_node("n1");
  REQUIRE(gone);
  CHECK_FALSE(gone->has_value());
}

TEST_CASE("every fault of the stand-in: a read is unknown or right, and the next one is right",
          "[contract]") {
  const FaultRow rows[] = {
      {FaultKind::status, 500, false},          {FaultKind::status, 503, false},
      {FaultKind::status, 429, false},          {FaultKind::status, 404, false},
      {FaultKind::status, 403, false},          {FaultKind::delay, 10, true},
      {FaultKind::truncate_body, 50, false},    {FaultKind::html_with_200, 0, false},
      {FaultKind::half_json, 0, false},         {FaultKind::wrong_types, 0, false},
      {FaultKind::duplicate_keys, 0, false},    {FaultKind::bad_utf8, 0, false},
      {FaultKind::redirect_to_login, 0, false}, {FaultKind::drop_reply, 0, false},
      {FaultKind::refuse_request, 0, false},
  };
  for (const char* core : {"2.479.3", "2.528.3"}) {
    for (const FaultRow& row : rows) {
      INFO(core << ", fault " << static_cast<int>(row.kind) << " " << row.value);
      Options options;
      options.core_version = core;
      options.users = {{"skep",
                        "token",
                        "",
                        {"Overall/Read", "Job/Read", "Agent/Create", "Agent/Connect", "Agent/Disconnect",
                         "Agent/Delete"}}};
      Adapter<ModelClient> adapter(options, "skep", "token");
      auto& model = adapter.client.model();
      controller_sim::JobSpec job;
      job.path = "one";
      job.label = "linux && x86";
      model.create_job(job);
      model.schedule("one", adapter.client.now());
      adapter.client.pass(milliseconds(50));
      check_reads(adapter, row);
      check_creation(adapter, row);
      check_gate(adapter, row);
      check_deletion(adapter, row);
    }
  }
}

TEST_CASE("addresses in replies may name any host and prefix", "[contract]") {
  for (const std::string root : {"http://127.0.0.1:8080/", "https://ci.example/",
                                 "https://ci.example:8443/jenkins/", "http://[::1]/a/b/c/", ""}) {
    INFO(root);
    const auto item = [&](const std::string& url) {
      return R"({"items":[{"_class":"hudson.model.Queue$BuildableItem","blocked":false,"buildable":true,"id":1,"inQueueSince":1,"task":{)"
             R"("_class":"hudson.model.FreeStyleProject","fullDisplayName":"x","labelExpression":"l","url":")" +
             root + url + R"("},"why":null,"pending":false}]})";
    };
    const auto node = json_reply(
        R"({"displayName":"n1","idle":false,"numExecutors":1,"offline":false,"temporarilyOffline":false,"offlineCauseReason":"","executors":[)"
        R"({"currentExecutable":{"number":12,"url":")" +
        root + R"(job/Team%20A/job/build%20it/12/"},"idle":false,"number":0}]})");
    Adapter<ScriptedClient> adapter(
        std::deque<Result<http::Reply>>{json_reply(item("job/Team%20A/job/build%20it/")), node});
    const auto queue = adapter.controller.read_queue();
    REQUIRE(queue);
    CHECK(queue->items[0].path == "job/Team%20A/job/build%20it/");
    const auto fact = adapter.controller.poll_node("n1");
    REQUIRE((fact && fact->has_value()));
    CHECK((*fact)->builds == std::vector<std::string>{"job/Team%20A/job/build%20it/12/"});
    for (const http::Request& request : adapter.client.requests) {
      CHECK(request.target.find("ci.example") == std::string::npos);
      CHECK(request.target.front() != '/');  // below our own base address
    }
  }
}

TEST_CASE("a node that is named like a label, and one that has just been made", "[contract]") {
  const auto queue = [](const std::string& why) {
    return json_reply(
        R"({"items":[{"_class":"hudson.model.Queue$BuildableItem","blocked":false,"buildable":true,"id":1,"inQueueSince":1,)"
        R"("task":{"_class":"x$PlaceholderTask","fullDisplayName":"part of p #1","url":"job/p/1/"},"why":")" +
        why + "\",\"pending\":false}]}");
  };
  const auto nodes = [](const std::vector<std::string>& names) {
    std::string list;
    for (const std::string& name : names) {
      list +=
          std::string(list.empty() ? "" : ",") +
          R"({"_class":"hudson.slaves.SlaveComputer","assignedLabels":[],"executors":[{"currentExecutable":null,"idle":true,"number":0}],)"
          R"("idle":true,"numExecutors":1,"offline":true,"offlineCauseReason":"","temporarilyOffline":false,"displayName":")" +
          name + "\"}";
    }
    return json_reply("{\"computer\":[" + list + "]}");
  };
  const std::string busy = "Waiting for next available executor on ‘linux’";
  {
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{nodes({"n1", "n2"}), queue(busy)});
    REQUIRE(adapter.controller.read_nodes());
    CHECK(adapter.controller.read_queue()->items[0].label == "linux");
  }
  {
    // Which of the two is meant cannot be told: reported, not guessed.
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{nodes({"linux", "n2"}), queue(busy)});
    REQUIRE(adapter.controller.read_nodes());
    const auto read = adapter.controller.read_queue();
    REQUIRE(read);
    CHECK(read->items[0].label_source == LabelSource::unresolved);
    CHECK(read->items[0].matching_node == "linux");
  }
  {
    // What was taken for a label turns out to be a node.
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{nodes({"n1", "n2"}), queue(busy),
                                                                    nodes({"linux", "n2"}), queue(busy)});
    REQUIRE(adapter.controller.read_nodes());
    CHECK(adapter.controller.read_queue()->items[0].label == "linux");
    REQUIRE(adapter.controller.read_nodes());
    const auto read = adapter.controller.read_queue();
    CHECK_FALSE(read->items[0].label.has_value());
    CHECK(read->items[0].matching_node == "linux");
  }
  {
    // A text that is certain stays certain.
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{
        nodes({"linux", "n2"}), queue("There are no nodes with the label ‘gpu’"), queue(busy)});
    REQUIRE(adapter.controller.read_nodes());
    CHECK(adapter.controller.read_queue()->items[0].label == "gpu");
    CHECK(adapter.controller.read_queue()->items[0].label == "gpu");
  }
  {
    // Our own node is known before any list shows it, even when its creation was not acknowledged.
    CreateNode order;
    order.node = ExecutorId("farm-a");
    order.labels = "linux";
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{
        nodes({"n1"}), Error::unknown(ErrorCode::unavailable, "the connection broke"),
        queue("Waiting for next available executor on ‘farm-a’")});
    REQUIRE(adapter.controller.read_nodes());
    CHECK_FALSE(adapter.controller.create_node(order));
    const auto read = adapter.controller.read_queue();
    REQUIRE(read);
    CHECK(read->items[0].label_source == LabelSource::unresolved);
    CHECK(read->items[0].matching_node == "farm-a");
  }
}

}  // namespace skep::scheduler::awkward_test
