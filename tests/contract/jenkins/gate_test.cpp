// The offline gate: what the adapter sees at each recorded step, and its orders carried out against the
// stand-in, on both core generations and with each kind of account.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/contract/jenkins/clients.h"

namespace skep::scheduler::gate_test {
namespace {

using controller_sim::JobSpec;
using controller_sim::Options;
using recordings::Exchange;

std::string node_of(const Exchange& exchange) {
  const std::string start = "/computer/";
  REQUIRE(exchange.target.rfind(start, 0) == 0);
  return exchange.target.substr(start.size(), exchange.target.find('/', start.size()) - start.size());
}

/// The recorded state of one node, with what our own `tree` asks for besides.
http::Reply state_of(const Exchange& exchange) {
  http::Reply reply = reply_of(exchange);
  if (!exchange.answer.json) return reply;
  json::Json state = *exchange.answer.json;
  state["displayName"] = node_of(exchange);
  state["numExecutors"] = 1;
  state["offlineCauseReason"] = state.at("temporarilyOffline") == true ? "skep: gate" : "";
  reply.body = state.dump();
  return reply;
}

struct Seen {
  bool is_connected, is_offline, is_temporarily_offline, is_idle;
  bool may_have_build;
};

}  // namespace

TEST_CASE("the recorded states of an executor behind its gate", "[contract]") {
  const std::map<std::string, Seen> states{
      {"connected, closed", {true, true, true, true, false}}, {"open", {true, false, false, true, false}},
      {"assigned", {true, false, false, false, true}},        {"running", {true, false, false, false, true}},
      {"running, closed", {true, true, true, false, true}},   {"build over", {true, true, true, true, false}},
  };
  for (const char* core : {"jenkins-2.479.3", "jenkins-2.528.3"}) {
    std::map<std::string, int> seen;
    for (const Exchange& exchange : recordings::of(std::string(core) + "/08-offline-gate.json").exchanges) {
      const bool is_state = exchange.method == "GET" &&
                            exchange.target.find("/api/json?tree=idle,offline") != std::string::npos;
      if (!is_state) continue;
      INFO(core << " step " << exchange.index << ": " << exchange.step);
      ++seen[exchange.step];
      Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{state_of(exchange)});
      const auto fact = adapter.controller.poll_node(node_of(exchange));
      REQUIRE(fact);
      if (exchange.step == "gone") {
        CHECK_FALSE(fact->has_value());
        continue;
      }
      REQUIRE(states.count(exchange.step) == 1);
      REQUIRE(fact->has_value());
      const Seen& wanted = states.at(exchange.step);
      CHECK((*fact)->is_connected == wanted.is_connected);
      CHECK((*fact)->is_offline == wanted.is_offline);
      CHECK((*fact)->is_temporarily_offline == wanted.is_temporarily_offline);
      CHECK((*fact)->is_idle == wanted.is_idle);
      if (!wanted.may_have_build) CHECK((*fact)->builds.empty());
      if (exchange.step == "running" || exchange.step == "running, closed") {
        REQUIRE((*fact)->builds.size() == 1);
        CHECK((*fact)->builds[0].find("job/one/") == 0);
      }
    }
    for (const auto& [step, state] : states) {
      INFO(step);
      CHECK(seen[step] == 4);
    }
    CHECK(seen["gone"] == 4);
  }
}

TEST_CASE("a node that lost its agent, and one that never had it", "[contract]") {
  for (const char* core : {"jenkins-2.479.3", "jenkins-2.528.3"}) {
    const auto& recording = recordings::of(std::string(core) + "/09-deleted-killed-disconnected.json");
    json::Json kept = *recording.step("the node stays").answer.json;
    kept.update({{"displayName", "m8"},
                 {"numExecutors", 1},
                 {"executors", json::Json::array()},
                 {"absoluteRemotePath", nullptr}});
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{json_reply(kept.dump())});
    const auto fact = adapter.controller.poll_node("m8");
    REQUIRE((fact && fact->has_value()));
    CHECK((*fact)->is_offline);
    CHECK_FALSE((*fact)->is_connected);
    CHECK_FALSE((*fact)->is_temporarily_offline);
    CHECK((*fact)->offline_reason == "Connection was broken");
  }
}

// --- against the stand-in

namespace {

struct Account {
  const char* what;
  std::set<std::string, std::less<>> permissions;
  std::string kick;  // the means that the profile names
  OneBuildMeans means;
};

const std::set<std::string, std::less<>> least{"Overall/Read",  "Job/Read",         "Agent/Create",
                                               "Agent/Connect", "Agent/Disconnect", "Agent/Delete"};

std::vector<Account> accounts() {
  auto with_configure = least;
  with_configure.insert("Agent/Configure");
  return {{"the least account", least, "createSlave", OneBuildMeans::gate},
          {"one that may configure", with_configure, "config.xml", OneBuildMeans::gate},
          {"an administrator", {"Overall/Administer"}, "script", OneBuildMeans::hook}};
}

Options options_of(const std::string& core, const Account& account) {
  Options options;
  options.core_version = core;
  options.path_prefix = "/jenkins";
  options.root_url = "https://ci.example:8443/other/";  // never the address that is used
  options.users = {{"skep", "token", "", account.permissions}};
  return options;
}

CreateNode creation(const std::string& node, const std::string& labels) {
  CreateNode order;
  order.node = ExecutorId(node);
  order.labels = labels;
  order.remote_fs = "/home/agent";
  return order;
}

/// Created once, closed before its agent comes.
void create_behind_gate(JenkinsController& controller, ModelClient& client) {
  const auto secret = controller.create_node(creation("farm-a", "g1"));
  REQUIRE(secret);
  CHECK(*secret == client.model().secret_of("farm-a"));
  const auto twice = controller.create_node(creation("farm-a", "g1"));
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == ErrorCode::conflict);
  REQUIRE(controller.close_gate("farm-a", "gate"));
  client.connect("farm-a");
  const auto closed = controller.poll_node("farm-a");
  REQUIRE((closed && closed->has_value()));
  CHECK((*closed)->is_connected);
  CHECK((*closed)->is_temporarily_offline);
  CHECK((*closed)->offline_reason == "skep: gate");
  CHECK((*closed)->is_idle);
}

/// What the gate's poll does: until the build is seen.
void open_for_one_build(JenkinsController& controller, ModelClient& client) {
  const Instant opened_at = client.now();
  const auto opened = controller.open_gate("farm-a");
  REQUIRE(opened);
  if (!opened->has_kicked) REQUIRE(controller.kick());
  NodeFact seen;
  while (true) {  // what the gate's poll does
    const auto polled = controller.poll_node("farm-a");
    REQUIRE((polled && polled->has_value()));
    seen = **polled;
    CHECK_FALSE(seen.is_temporarily_offline);
    if (!seen.builds.empty()) break;
    REQUIRE(client.now() - opened_at < milliseconds(60));  // a kick that works; the tick takes up to 5 s
    client.pass(milliseconds(2));
  }
  CHECK(seen.builds.size() == 1);
  CHECK(seen.builds[0].find("job/one/") == 0);
}

/// What an account that may configure is told while its rights are found out.
http::Reply configuring_account(const http::Request& request) {
  const auto& permissions = recordings::of("jenkins-2.479.3/14-permissions.json");
  const auto& configs = recordings::of("jenkins-2.528.3/10-node-config.json");
  if (request.target.find("whoAmI") == 0)
    return reply_of(recordings::of("jenkins-2.479.3/01-authentication.json").step("right token"));
  if (request.target == "scriptText") return reply_of(permissions.step("script console"));
  if (request.target.find("computer/api") == 0) return reply_of(permissions.step("computers"));
  if (request.target.find("createSlave") != std::string::npos) {
    http::Reply reply =
        reply_of(recordings::of("jenkins-2.479.3/03-why-texts.json").step("create node n1, not connected"));
    const std::string name = request.body.substr(5, request.body.find('&') - 5);
    reply.body.replace(reply.body.find("name=n1"), 7, "name=" + name);
    return reply;
  }
  if (request.target.find("config.xml") != std::string::npos)
    return reply_of(configs.step(request.method == "GET" ? "read" : "write it back"));
  if (request.target.find("api/json") == 0) return json_reply(R"({"jobs":[{"name":"x"}]})");
  return reply_of(permissions.step("delete"));  // 302, as all orders
}

}  // namespace

TEST_CASE("one executor from its creation to its end, on both cores, with each account", "[contract]") {
  for (const char* core : {"2.479.3", "2.528.3"}) {
    for (const Account& account : accounts()) {
      INFO(core << ", " << account.what);
      Adapter<ModelClient> adapter(options_of(core, account), "skep", "token");
      ModelClient& client = adapter.client;
      JenkinsController& controller = adapter.controller;
      client.model().create_permanent_node("skep-sentinel", "", true, 1, client.now());
      JobSpec job;
      job.path = "one";
      job.label = "g1";
      job.concurrent = true;
      client.model().create_job(job);
      for (int i = 0; i < 3; ++i) client.model().schedule("one", client.now(), {{"N", std::to_string(i)}});
      client.pass(milliseconds(20));

      const auto profile = controller.profile();
      REQUIRE(profile);
      CHECK(profile->version == core);
      CHECK(profile->kick == account.kick);
      CHECK(profile->one_build == account.means);
      CHECK(profile->missing_permissions.empty());
      CHECK(profile->warnings.empty());
      CHECK(client.model().node_names() == std::vector<std::string>{"skep-sentinel"});

      const auto nodes_before = controller.read_nodes();
      REQUIRE(nodes_before);
      const auto queue = controller.read_queue();
      REQUIRE(queue);
      REQUIRE(queue->items.size() == 3);
      for (const QueueItem& item : queue->items) CHECK(item.label == "g1");

      create_behind_gate(controller, client);
      open_for_one_build(controller, client);
      REQUIRE(controller.close_gate("farm-a", "busy"));
      REQUIRE(controller.close_gate("farm-a", "busy"));  // idempotent
      const auto& builds = client.model().builds();
      REQUIRE(builds.size() == 1);
      client.model().build_finished_on_agent("farm-a", builds[0].id, client.now());
      client.pass(seconds(7));
      CHECK(client.model().builds().size() == 1);

      if (account.means == OneBuildMeans::gate) {
        const auto over = controller.poll_node("farm-a");
        REQUIRE((over && over->has_value()));
        CHECK((*over)->is_idle);
        CHECK((*over)->is_temporarily_offline);
      }
      REQUIRE(controller.delete_node("farm-a"));
      REQUIRE(controller.delete_node("farm-a"));  // gone is success
      const auto gone = controller.poll_node("farm-a");
      REQUIRE(gone);
      CHECK_FALSE(gone->has_value());
      CHECK(client.model().node_names() == std::vector<std::string>{"skep-sentinel"});
    }
  }
}

TEST_CASE("an open gate is never flipped, and one that somebody else closed is left alone", "[contract]") {
  for (const char* core : {"2.479.3", "2.528.3"}) {
    for (const Account& account : accounts()) {
      INFO(core << ", " << account.what);
      Adapter<ModelClient> adapter(options_of(core, account), "skep", "token");
      ModelClient& client = adapter.client;
      REQUIRE(adapter.controller.profile());
      REQUIRE(adapter.controller.create_node(creation("farm-a", "g1")));
      client.connect("farm-a");
      for (const bool was_closed : {false, true, false}) {
        if (was_closed) REQUIRE(adapter.controller.close_gate("farm-a", "skep: gate"));
        const auto opened = adapter.controller.open_gate("farm-a");
        REQUIRE(opened);
        CHECK(opened->was_open == !was_closed);
        CHECK_FALSE((*adapter.controller.poll_node("farm-a"))->is_temporarily_offline);
      }
      const auto order = [&](const std::string& body) {
        return client.model().handle({"POST",
                                      "/jenkins/computer/farm-a/changeOfflineCause",
                                      {{"Authorization", "Basic c2tlcDp0b2tlbg=="},
                                       {"Content-Type", "application/x-www-form-urlencoded"}},
                                      body},
                                     client.now(), WallTime{1});
      };
      REQUIRE(order("offlineMessage=disk+is+full").status == 302);
      const auto refused = adapter.controller.open_gate("farm-a");
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == ErrorCode::conflict);
      CHECK(refused.error().message.find("disk is full") != std::string::npos);
      CHECK((*adapter.controller.poll_node("farm-a"))->is_temporarily_offline);
      const auto missing = adapter.controller.open_gate("farm-b");
      REQUIRE_FALSE(missing);
      CHECK(missing.error().code == ErrorCode::not_found);
    }
  }
}

TEST_CASE("opening by toggling: an answer that is lost is looked up, never repeated blindly", "[contract]") {
  const auto state = [](bool is_closed) {
    return json_reply(
        std::string(
            R"({"_class":"hudson.slaves.SlaveComputer","displayName":"n1","idle":true,"numExecutors":1,)") +
        "\"offline\":" + (is_closed ? "true" : "false") +
        ",\"temporarilyOffline\":" + (is_closed ? "true" : "false") +
        R"(,"offlineCauseReason":"skep: gate","absoluteRemotePath":"/home/agent","executors":[{"currentExecutable":null,"idle":true,"number":0}]})");
  };
  const Error lost = Error::unknown(ErrorCode::unavailable, "the connection broke");
  struct Row {
    std::deque<Result<http::Reply>> script;
    bool is_open;
    Outcome outcome;
  };
  const Row rows[] = {
      {{state(true), lost, state(false)}, true, Outcome::failed},
      {{state(true), lost, state(true)}, false, Outcome::try_again},
      {{state(true), lost, lost}, false, Outcome::unknown},
      {{state(true), reply_of(502, {}, "bad gateway"), state(false)}, true, Outcome::failed},
      {{state(true), reply_of(503, {}, "Starting Jenkins")}, false, Outcome::try_again},
      {{lost}, false, Outcome::unknown},
  };
  for (const Row& row : rows) {
    Adapter<ScriptedClient> adapter(row.script);
    const auto opened = adapter.controller.open_gate("n1");
    CHECK(adapter.client.is_used_up());
    CHECK(opened.has_value() == row.is_open);
    if (!opened) CHECK(static_cast<int>(opened.error().outcome) == static_cast<int>(row.outcome));
    const auto toggles = std::count_if(
        adapter.client.requests.begin(), adapter.client.requests.end(),
        [](const http::Request& sent) { return sent.target.find("toggleOffline") != std::string::npos; });
    CHECK(toggles <= 1);
  }
}

TEST_CASE("opening by the configuration is believed only when the node is open", "[contract]") {
  const auto state = [](bool is_closed, const std::string& reason) {
    const std::string flag = is_closed ? "true" : "false";
    return json_reply(R"({"displayName":"n1","idle":true,"numExecutors":1,"offline":)" + flag +
                      ",\"temporarilyOffline\":" + flag + ",\"offlineCauseReason\":\"" + reason +
                      R"(","executors":[{"currentExecutable":null,"idle":true,"number":0}]})");
  };
  const auto& permissions = recordings::of("jenkins-2.479.3/14-permissions.json");
  const auto& configs = recordings::of("jenkins-2.528.3/10-node-config.json");
  const http::Reply done = reply_of(permissions.step("delete"));  // 302, as all orders
  const http::Reply config = reply_of(configs.step("read")),
                    closed_config = reply_of(configs.step("read while set offline")),
                    written = reply_of(configs.step("write it back"));
  const Error lost = Error::unknown(ErrorCode::unavailable, "the connection broke");
  struct Row {
    const char* what;
    std::deque<Result<http::Reply>> script;
    bool is_open;
    ErrorCode code;
  };
  const http::Reply closed = state(true, "skep: gate"), open = state(false, "");
  http::Reply busy = closed;
  for (std::size_t at = 0; (at = busy.body.find("\"idle\":true", at)) != std::string::npos;)
    busy.body.replace(at, 11, "\"idle\":false");
  const Row rows[] = {
      {"it opened", {closed, closed_config, written, open}, true, {}},
      {"it did not: an older core",
       {closed, closed_config, written, closed, done, config, written},
       true,
       {}},
      {"it did, and is closed and busy by now", {closed, closed_config, written, busy}, true, {}},
      {"it did, and a person closed it",
       {closed, closed_config, written, state(true, "disk full")},
       false,
       ErrorCode::conflict},
      {"nobody knows", {closed, closed_config, written, lost}, false, ErrorCode::unavailable},
      {"the node is gone",
       {closed, closed_config, written, reply_of(404, {{"X-Jenkins", "2.528.3"}}, "")},
       false,
       ErrorCode::not_found},
      {"the answer is lost, it opened", {closed, closed_config, lost, open}, true, {}},
      {"the answer is lost, it did not",
       {closed, closed_config, lost, closed},
       false,
       ErrorCode::unavailable},
      {"not allowed any more",
       {closed, reply_of(permissions.exchanges.at(19)), done, config, written},
       true,
       {}},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    auto next = row.script.begin();
    bool is_profile = true;
    Adapter<RuleClient> adapter([&](const http::Request& request) -> Result<http::Reply> {
      if (!is_profile) {
        INFO(request.method << " " << request.target);
        REQUIRE(next != row.script.end());
        return *next++;
      }
      return configuring_account(request);
    });
    const auto found = adapter.controller.profile();
    REQUIRE(found);
    REQUIRE(found->kick == "config.xml");
    is_profile = false;
    const auto opened = adapter.controller.open_gate("n1");
    CHECK(opened.has_value() == row.is_open);
    if (!opened) CHECK(static_cast<int>(opened.error().code) == static_cast<int>(row.code));
    CHECK(next == row.script.end());
  }
}

TEST_CASE("closing a gate whose node is gone, lingers, or is kept from us", "[contract]") {
  const http::Headers jenkins{
      {"X-Jenkins", "2.528.3"}, {"X-Jenkins-Session", "s"}, {"Content-Type", "text/html;charset=utf-8"}};
  const auto lingering = json_reply(
      R"({"displayName":"n1","idle":false,"numExecutors":0,"offline":true,"temporarilyOffline":false,"offlineCauseReason":"",)"
      R"("executors":[{"currentExecutable":{"url":"http://x/job/long/1/","number":1},"idle":false,"number":0}]})");
  const auto alive = json_reply(
      R"({"displayName":"n1","idle":true,"numExecutors":1,"offline":false,"temporarilyOffline":false,"offlineCauseReason":"",)"
      R"("executors":[{"currentExecutable":null,"idle":true,"number":0}]})");
  {
    // A Computer whose node is deleted answers 500: it takes no work any more.
    Adapter<ScriptedClient> adapter(
        std::deque<Result<http::Reply>>{reply_of(500, jenkins, "A problem occurred"), lingering});
    CHECK(adapter.controller.close_gate("n1", "busy"));
  }
  {
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{
        reply_of(500, jenkins, "A problem occurred"), reply_of(404, jenkins, "")});
    CHECK(adapter.controller.close_gate("n1", "busy"));
  }
  {
    Adapter<ScriptedClient> adapter(
        std::deque<Result<http::Reply>>{reply_of(500, jenkins, "A problem occurred"), alive});
    const auto closed = adapter.controller.close_gate("n1", "busy");
    REQUIRE_FALSE(closed);
    CHECK(closed.error().outcome == Outcome::unknown);
  }
  {
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{
        reply_of(500, jenkins, "A problem occurred"), reply_of(404, {}, "nginx")});
    CHECK_FALSE(adapter.controller.close_gate("n1", "busy"));
  }
  {
    const auto& recording = recordings::of("jenkins-2.479.3/14-permissions.json");
    const auto refused =
        std::find_if(recording.exchanges.begin(), recording.exchanges.end(), [](const Exchange& exchange) {
          return exchange.step == "close the gate" &&
                 exchange.answer.header("X-Required-Permission") == "hudson.model.Computer.Disconnect";
        });
    REQUIRE(refused != recording.exchanges.end());
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{reply_of(*refused)});
    const auto closed = adapter.controller.close_gate("p1", "busy");
    REQUIRE_FALSE(closed);
    CHECK(closed.error().code == ErrorCode::permission_denied);
    CHECK(closed.error().message.find("Agent/Disconnect") != std::string::npos);
  }
}

TEST_CASE("a deletion is done when Jenkins says so, not when a proxy does", "[contract]") {
  const auto& recording = recordings::of("jenkins-2.528.3/08-offline-gate.json");
  {
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{reply_of(recording.step("delete"))});
    CHECK(adapter.controller.delete_node("g0"));
  }
  {
    const auto& missing =
        recordings::of("jenkins-2.528.3/02-tree-and-errors.json").step("doDelete of a missing node");
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{reply_of(missing)});
    CHECK(adapter.controller.delete_node("nosuch"));
  }
  for (const auto& reply :
       {reply_of(404, {}, "nginx"), reply_of(302, {{"Location", "/login"}}, ""),
        reply_of(200, {}, "<html>hello</html>"), reply_of(503, {}, ""), reply_of(429, {}, "")}) {
    INFO(reply.status);
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{reply});
    CHECK_FALSE(adapter.controller.delete_node("n1"));
  }
}

}  // namespace skep::scheduler::gate_test
