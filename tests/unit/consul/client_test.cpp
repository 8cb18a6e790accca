// What Consul says, read strictly: whatever is odd is an error, and never an empty list.
#include <catch2/catch.hpp>

#include "common/consul/consul_client.h"
#include "common/json/json.h"
#include "tests/unit/consul/scripted_http.h"

namespace client_test {

using namespace skep;
using consul::Health;
using skep::test::HttpScript;
using skep::test::ScriptedHttp;

namespace {

// One entry as Consul 1.8.7 sends it, shortened by fields that nobody reads.
const char* const entry_text = R"({
  "Node": {"ID": "d41aaac6-9a3f-ef7b-c803-196109e4fdbe", "Node": "n1", "Address": "10.0.0.9", "Datacenter": "dc1",
           "TaggedAddresses": {"lan": "10.0.0.9"}, "Meta": {"consul-network-segment": ""}, "CreateIndex": 11, "ModifyIndex": 12},
  "Service": {"ID": "skep-agentd-h1", "Service": "skep-agentd", "Tags": [], "Address": "10.0.0.1", "Port": 7071,
              "Meta": {"host": "h1", "url": "http://10.0.0.1:7071/"}, "Weights": {"Passing": 1, "Warning": 1},
              "EnableTagOverride": false, "Proxy": {"MeshGateway": {}, "Expose": {}}, "Connect": {},
              "CreateIndex": 13, "ModifyIndex": 14},
  "Checks": [{"Node": "n1", "CheckID": "serfHealth", "Status": "passing", "Output": "Agent alive and reachable",
              "ServiceID": "", "Definition": {}, "CreateIndex": 11, "ModifyIndex": 11},
             {"Node": "n1", "CheckID": "service:skep-agentd-h1", "Status": "passing", "Output": "",
              "ServiceID": "skep-agentd-h1", "Type": "ttl", "Definition": {}, "CreateIndex": 13, "ModifyIndex": 13}]})";

json::Json entry() {
  return json::parse_strict(entry_text).value();
}

http::Reply reply_with(const std::string& body) {
  return {
      200, {{"X-Consul-Index", "14"}, {"X-Consul-Knownleader", "true"}, {"X-Consul-Lastcontact", "0"}}, body};
}

http::Reply reply_of(const json::Json& one_entry) {
  return reply_with(json::dump(json::Json::array({one_entry})));
}

struct Peer {
  HttpScript script;
  consul::Client client{std::make_unique<ScriptedHttp>(script), "s3cret-token"};
  void says(int status, std::string body = "", http::Headers headers = {}) {
    script.replies.emplace_back(http::Reply{status, std::move(headers), std::move(body)});
  }
};

}  // namespace

TEST_CASE("a reply of a real Consul is read", "[unit][consul]") {
  const auto list = consul::decode_instances(reply_of(entry()));
  REQUIRE(list);
  CHECK(list->index == 14);
  REQUIRE(list->instances.size() == 1);
  const consul::Instance& one = list->instances[0];
  CHECK(one.id == "skep-agentd-h1");
  CHECK(one.address == "10.0.0.1");
  CHECK(one.port == 7071);
  CHECK(one.meta.at("host") == "h1");
  CHECK(one.health == Health::passing);
  CHECK(one.modify_index == 14);
}

TEST_CASE("an empty list is only what Consul says in full", "[unit][consul]") {
  const auto list = consul::decode_instances(reply_with("[]\n"));
  REQUIRE(list);
  CHECK(list->instances.empty());
}

TEST_CASE("a service without an address has its node's, one without metadata has none", "[unit][consul]") {
  json::Json one = entry();
  one["Service"]["Address"] = "";
  one["Service"]["Meta"] = nullptr;
  const auto list = consul::decode_instances(reply_of(one));
  REQUIRE(list);
  CHECK(list->instances[0].address == "10.0.0.9");
  CHECK(list->instances[0].meta.empty());
}

TEST_CASE("the worst check decides, the node's included", "[unit][consul]") {
  const auto health_of = [](const char* node, const char* service) {
    json::Json one = entry();
    one["Checks"][0]["Status"] = node;
    one["Checks"][1]["Status"] = service;
    return consul::decode_instances(reply_of(one)).value().instances[0].health;
  };
  CHECK(health_of("passing", "critical") == Health::critical);
  CHECK(health_of("critical", "passing") == Health::critical);
  CHECK(health_of("critical", "warning") == Health::critical);
  CHECK(health_of("warning", "passing") == Health::warning);
}

TEST_CASE("an odd reply is unknown, never empty", "[unit][consul]") {
  const auto good = reply_of(entry());
  REQUIRE(consul::decode_instances(good));
  const auto with_header = [&](const std::string& name, const std::string& value) {
    http::Reply reply = good;
    std::erase_if(reply.headers, [&](const auto& header) { return header.first == name; });
    if (!value.empty()) reply.headers.emplace_back(name, value);
    return reply;
  };
  const auto with = [](auto change) {
    json::Json one = entry();
    change(one);
    return reply_of(one);
  };
  using json::Json;
  const std::vector<http::Reply> odd{
      {500, good.headers, "No cluster leader"},
      {404, good.headers, "[]"},
      {204, good.headers, ""},
      with_header("X-Consul-Index", ""),
      with_header("X-Consul-Index", "fourteen"),
      with_header("X-Consul-Index", "14 "),
      with_header("X-Consul-Index", "-1"),
      with_header("X-Consul-Index", "99999999999999999999999"),
      with_header("X-Consul-Knownleader", ""),
      with_header("X-Consul-Knownleader", "false"),
      with_header("X-Consul-Results-Filtered-By-ACLs", "true"),
      reply_with(""),
      reply_with("null"),
      reply_with("{}"),
      reply_with("["),
      reply_with("[] []"),
      reply_with("[null]"),
      with([](Json& one) { one.erase("Service"); }),
      with([](Json& one) { one.erase("Node"); }),
      with([](Json& one) { one.erase("Checks"); }),
      with([](Json& one) { one["Service"].erase("ID"); }),
      with([](Json& one) { one["Service"]["ID"] = ""; }),
      with([](Json& one) { one["Service"].erase("Address"); }),
      with([](Json& one) { one["Service"]["Port"] = 65536; }),
      with([](Json& one) { one["Service"]["Port"] = -1; }),
      with([](Json& one) { one["Service"]["Port"] = "7071"; }),
      with([](Json& one) { one["Service"].erase("ModifyIndex"); }),
      with([](Json& one) { one["Service"]["Meta"] = "x"; }),
      with([](Json& one) { one["Service"]["Meta"]["host"] = 1; }),
      with([](Json& one) { one["Service"]["Address"] = one["Node"]["Address"] = ""; }),
      with([](Json& one) { one["Checks"][0]["Status"] = "fine"; }),
      with([](Json& one) { one["Checks"][0] = nullptr; }),
  };
  for (std::size_t i = 0; i < odd.size(); ++i) {
    INFO("reply " << i << ": " << odd[i].status << " " << odd[i].body);
    CHECK_FALSE(consul::decode_instances(odd[i]));
  }
}

TEST_CASE("one odd entry spoils the whole list", "[unit][consul]") {
  json::Json broken = entry();
  broken["Service"].erase("Port");
  CHECK_FALSE(consul::decode_instances(reply_with(json::dump(json::Json::array({entry(), broken})))));
}

TEST_CASE("refusals say whether asking again may help", "[unit][consul]") {
  const auto refusal = [](int status) {
    return consul::decode_instances({status, {}, "Permission\ndenied"}).error();
  };
  CHECK(refusal(403).code == ErrorCode::permission_denied);
  CHECK(refusal(403).outcome == Outcome::failed);
  CHECK(refusal(500).outcome == Outcome::unknown);
  CHECK(refusal(429).outcome == Outcome::unknown);
  CHECK(refusal(500).message.find("Permission denied") != std::string::npos);  // on one line
}

TEST_CASE("the index starts again when it is below 1 or goes backwards", "[unit][consul]") {
  STATIC_REQUIRE(consul::next_index(0, 14) == 14);
  STATIC_REQUIRE(consul::next_index(14, 14) == 14);
  STATIC_REQUIRE(consul::next_index(14, 15) == 15);
  STATIC_REQUIRE(consul::next_index(14, 13) == 0);
  STATIC_REQUIRE(consul::next_index(14, 0) == 0);
  STATIC_REQUIRE(consul::next_index(0, 0) == 0);
}

TEST_CASE("a blocking query waits within bounds, and its limit is longer than its wait", "[unit][consul]") {
  Peer peer;
  static_cast<void>(peer.client.read_service("skep-agentd", 14, seconds(30)).has_value());
  static_cast<void>(peer.client.read_service("skep-agentd", 0, hours(24)).has_value());
  static_cast<void>(peer.client.read_service("skep-agentd", 0, seconds(-1)).has_value());
  CHECK(peer.script.asked[0].target == "v1/health/service/skep-agentd?index=14&wait=30000ms");
  CHECK(peer.script.limits[0] > seconds(30) + seconds(30) / 16);
  CHECK(peer.script.asked[1].target == "v1/health/service/skep-agentd?index=0&wait=90000ms");
  CHECK(peer.script.asked[2].target == "v1/health/service/skep-agentd?index=0&wait=0ms");
}

TEST_CASE("a registration carries the check, and no value that Consul would refuse", "[unit][consul]") {
  Peer peer;
  peer.says(200);
  consul::Registration registration;
  registration.id = "skep-agentd-h1";
  registration.service = "skep-agentd";
  registration.address = "10.0.0.1";
  registration.port = 7071;
  registration.ttl = milliseconds(2500);
  registration.meta = {{"host", "h1"}, {"fits", std::string(512, 'x')}, {"long", std::string(513, 'x')}};
  REQUIRE(peer.client.register_service(registration));
  const http::Request& asked = peer.script.asked.at(0);
  CHECK(asked.method == "PUT");
  CHECK(asked.target == "v1/agent/service/register");
  const json::Json body = json::parse_strict(asked.body).value();
  CHECK(body["ID"] == "skep-agentd-h1");
  CHECK(body["Name"] == "skep-agentd");
  CHECK(body["Address"] == "10.0.0.1");
  CHECK(body["Port"] == 7071);
  CHECK(body["Meta"].size() == 2);
  CHECK(body["Meta"].contains("fits"));
  CHECK(body["Check"]["TTL"] == "2500ms");
  CHECK(body["Check"]["Status"] == "passing");
  CHECK(body["Check"]["DeregisterCriticalServiceAfter"] == "600000ms");
}

TEST_CASE("a check that Consul has lost is told apart from other refusals", "[unit][consul]") {
  Peer peer;
  peer.says(200);
  peer.says(500, "CheckID \"service:skep-agentd-h1\" does not have associated TTL");  // 1.8.7
  peer.says(404, "Unknown check ID \"service:skep-agentd-h1\". Ensure that the check ID is passed");
  peer.says(500, "rpc error: something else");
  peer.says(403, "Permission denied");
  CHECK(peer.client.pass_check("skep-agentd-h1").value());
  CHECK_FALSE(peer.client.pass_check("skep-agentd-h1").value());
  CHECK_FALSE(peer.client.pass_check("skep-agentd-h1").value());
  CHECK_FALSE(peer.client.pass_check("skep-agentd-h1"));
  CHECK(peer.client.pass_check("skep-agentd-h1").error().code == ErrorCode::permission_denied);
  CHECK(peer.script.asked[0].target == "v1/agent/check/pass/service%3Askep-agentd-h1");
}

TEST_CASE("deregistering what is not there is no failure", "[unit][consul]") {
  Peer peer;
  peer.says(200);
  peer.says(404, "Unknown service ID");
  peer.says(500, "no");
  CHECK(peer.client.deregister_service("skep-agentd-h1", seconds(1)));
  CHECK(peer.client.deregister_service("skep-agentd-h1", seconds(1)));
  CHECK_FALSE(peer.client.deregister_service("skep-agentd-h1", seconds(1)));
}

TEST_CASE("the token is in a header of each call and in no address or error", "[unit][consul]") {
  Peer peer;
  peer.says(403, "Permission denied");
  peer.says(403, "Permission denied");
  peer.says(403, "Permission denied");
  std::string errors = peer.client.read_service("skep-agentd", 0, seconds(1)).error().message;
  errors += peer.client.pass_check("x").error().message;
  errors += peer.client.register_service({}).error().message;
  CHECK(errors.find("s3cret") == std::string::npos);
  REQUIRE(peer.script.asked.size() == 3);
  for (const http::Request& asked : peer.script.asked) {
    CHECK(http::header_value(asked.headers, "x-consul-token") == "s3cret-token");
    CHECK(asked.target.find("s3cret") == std::string::npos);
  }
}

}  // namespace client_test
