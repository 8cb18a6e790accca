// profile(): what an account may do, from the recorded answers to accounts that lack one permission each; and
// scripts, whose failure is answered with 200.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "scheduler/jenkins/scripts.h"
#include "tests/contract/jenkins/clients.h"

namespace skep::scheduler::profile_test {
namespace {

using recordings::Exchange;
using recordings::Recording;

/// The answers of one block of 14, by the names of its steps.
using Block = std::map<std::string, const Exchange*>;

/// By what the block's event says in parentheses.
std::map<std::string, Block> blocks() {
  std::map<std::string, Block> out;
  Block* block = nullptr;
  for (const Exchange& exchange : recordings::of("jenkins-2.479.3/14-permissions.json").exchanges) {
    if (exchange.is_event()) {
      const std::size_t start = exchange.event.find('(') + 1;
      block = &out[exchange.event.substr(start, exchange.event.find(')') - start)];
    } else {
      REQUIRE(block != nullptr);
      block->emplace(exchange.step, &exchange);
    }
  }
  return out;
}

/// The controller of one block; what was not recorded there is taken from where it was.
Result<http::Reply> answer_of(const Block& block, const http::Request& request) {
  const auto recorded = [&](const char* step) { return reply_of(*block.at(step)); };
  const std::string& target = request.target;
  const auto ends_with = [&](const char* text) { return target.substr(0, target.find('?')).ends_with(text); };
  if (target == "whoAmI/api/json")
    return reply_of(recordings::of("jenkins-2.479.3/01-authentication.json").step("right token"));
  if (target == "scriptText") return recorded("script console");
  if (target.find("computer/api/json") == 0) return recorded("computers");
  if (ends_with("changeOfflineCause")) return recorded("close the gate");
  if (ends_with("toggleOffline")) return recorded("open the gate");
  if (ends_with("doDelete")) return recorded("delete");
  if (ends_with("config.xml")) {
    http::Reply reply = recorded("config.xml");
    if (request.method == "POST" && reply.status == 200) reply.body.clear();
    return reply;
  }
  if (ends_with("createSlave")) {
    http::Reply reply = recorded("create");
    const std::size_t at = reply.body.find("name=p1");
    if (at != std::string::npos)
      reply.body.replace(at, 7, "name=" + request.body.substr(5, request.body.find('&') - 5));
    return reply;
  }
  REQUIRE(target.find("api/json?tree=jobs") == 0);
  http::Reply queue = recorded("queue");
  if (queue.status == 200)  // an account that sees no item sees no job either
    queue.body =
        queue.body.find("\"id\"") == std::string::npos ? R"({"jobs":[]})" : R"({"jobs":[{"name":"never"}]})";
  return queue;
}

}  // namespace

TEST_CASE("each permission that an account lacks is named, and no other", "[contract]") {
  struct Row {
    const char* block;
    std::vector<std::string> missing;
    const char* kick;
  };
  const Row rows[] = {
      {"all that the supervisor can use", {}, "config.xml"},
      {"the default design", {}, "createSlave"},
      {"without Overall/Read", {"Overall/Read"}, ""},
      {"without Job/Read", {}, "createSlave"},  // shown as a warning: no answer names it
      {"without Agent/Create", {"Agent/Create"}, ""},
      {"without Agent/Connect", {}, "createSlave"},  // implied by Agent/Disconnect
      {"without Agent/Disconnect", {"Agent/Disconnect"}, "createSlave"},
      {"without Agent/Delete", {"Agent/Delete"}, "createSlave"},
  };
  const std::map<std::string, Block> recorded = blocks();
  CHECK(recorded.size() == std::size(rows));
  for (const Row& row : rows) {
    INFO(row.block);
    REQUIRE(recorded.count(row.block) == 1);
    Adapter<RuleClient> adapter(
        [&](const http::Request& request) { return answer_of(recorded.at(row.block), request); });
    const auto profile = adapter.controller.profile();
    REQUIRE(profile);
    CHECK(profile->version == "2.479.3");
    CHECK(profile->missing_permissions == row.missing);
    CHECK(profile->extra_permissions.empty());
    CHECK_FALSE(profile->can_script);
    CHECK(profile->one_build == OneBuildMeans::gate);
    CHECK(profile->kick == row.kick);
    const bool is_blind = std::string(row.block) == "without Job/Read";
    const bool is_warned =
        std::any_of(profile->warnings.begin(), profile->warnings.end(),
                    [](const std::string& warning) { return warning.find("Job/Read") != std::string::npos; });
    CHECK(is_warned == is_blind);
    // No script is posted twice to a console that refuses, and nobody's node is touched but the throw-away
    // one.
    for (const http::Request& request : adapter.client.requests) {
      if (request.method != "POST" || request.target.find("computer/") != 0) continue;
      CHECK(request.target.find("computer/farm-kick-") == 0);
    }
  }
}

TEST_CASE("a script that fails is answered with 200: only a line with the marker says that it ran",
          "[contract]") {
  for (const char* core : {"jenkins-2.479.3", "jenkins-2.528.3"}) {
    const Recording& recording = recordings::of(std::string(core) + "/11-script-console.json");
    const auto recorded = blocks();
    const Block& block = recorded.at("the default design");
    // A compiler that quotes the line that it does not understand quotes the marker.
    http::Reply quoting = reply_of(recording.step("a script that does not compile"));
    quoting.body =
        "Script1.groovy: 27: unexpected token: ok @ line 27, column 9.\n   println 'skep-script-1 ok'\n      "
        "     ^\n\n1 error\n" +
        quoting.body;
    for (const http::Reply& failed : {reply_of(recording.step("a failing script still answers 200")),
                                      reply_of(recording.step("a script that does not compile")), quoting}) {
      INFO(failed.body.substr(0, 120));
      Adapter<RuleClient> adapter([&](const http::Request& request) -> Result<http::Reply> {
        return request.target == "scriptText" ? Result<http::Reply>(failed) : answer_of(block, request);
      });
      const auto profile = adapter.controller.profile();
      REQUIRE(profile);
      CHECK_FALSE(profile->can_script);
      CHECK(profile->one_build == OneBuildMeans::gate);
      CHECK_FALSE(profile->warnings.empty());
    }
  }
}

TEST_CASE("the hook that does not install is not relied upon", "[contract]") {
  const auto recorded = blocks();
  const Block& block = recorded.at("the default design");
  const Recording& console = recordings::of("jenkins-2.528.3/11-script-console.json");
  const http::Headers plain{{"Content-Type", "text/plain;charset=utf-8"}};
  for (const bool installs : {true, false}) {
    Adapter<RuleClient> adapter([&](const http::Request& request) -> Result<http::Reply> {
      if (request.target != "scriptText") return answer_of(block, request);
      if (request.body.find("skep-script-1") != std::string::npos)
        return reply_of(200, plain, std::string(script_marker) + "\n");
      if (installs) return reply_of(200, plain, std::string(hook_marker) + "\n");
      return reply_of(console.step("a failing script still answers 200"));
    });
    const auto profile = adapter.controller.profile();
    REQUIRE(profile);
    CHECK(profile->can_script);
    CHECK(profile->kick == "script");
    CHECK((profile->one_build == OneBuildMeans::hook) == installs);
    CHECK(profile->warnings.empty() == installs);
  }
}

TEST_CASE("who logs in as nobody, or not at all, is told so", "[contract]") {
  const Recording& recording = recordings::of("jenkins-2.528.3/01-authentication.json");
  struct Row {
    const char* step;
    ErrorCode code;
  };
  for (const Row& row : {Row{"wrong token", ErrorCode::unauthenticated},
                         Row{"anonymous read of the API", ErrorCode::permission_denied}}) {
    Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{reply_of(recording.step(row.step))});
    const auto profile = adapter.controller.profile();
    REQUIRE_FALSE(profile);
    CHECK(static_cast<int>(profile.error().code) == static_cast<int>(row.code));
    CHECK(profile.error().outcome == Outcome::unknown);
    CHECK_FALSE(profile.error().hint.empty());
  }
}

}  // namespace skep::scheduler::profile_test
