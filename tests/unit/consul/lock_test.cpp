// What the leader lock is made of: sessions, keys, and numbers that only grow.
#include <catch2/catch.hpp>

#include "common/consul/consul_client.h"
#include "common/json/json.h"
#include "tests/unit/consul/scripted_http.h"

namespace lock_test {

using namespace skep;
using skep::test::HttpScript;
using skep::test::ScriptedHttp;

namespace {

const http::Headers headers{{"X-Consul-Index", "21"}, {"X-Consul-Knownleader", "true"}};
// As Consul 1.8.7 sends it.
const char* const held = R"([{"LockIndex": 1, "Key": "skep/farm/leader", "Flags": 7, "Value": "aA==",
                              "Session": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "CreateIndex": 20, "ModifyIndex": 21}])";

struct Peer {
  HttpScript script;
  consul::Client client{std::make_unique<ScriptedHttp>(script), ""};
  void says(int status, std::string body) {
    script.replies.emplace_back(http::Reply{status, headers, std::move(body)});
  }
};

}  // namespace

TEST_CASE("a key is held, free or seen absent", "[unit][consul]") {
  const auto read = [](int status, const std::string& body) {
    return consul::decode_key({status, headers, body}).value();
  };
  CHECK(read(200, held).key->session == "adf4238a-882b-9ddc-4a9d-5b6758e4159e");
  CHECK(read(200, held).key->number == 7);
  CHECK(read(200, held).key->modify_index == 21);
  CHECK(read(200, held).index == 21);
  CHECK(read(200, R"([{"Flags": 0, "ModifyIndex": 3}])").key->session.empty());
  CHECK_FALSE(read(404, "").key);
}

TEST_CASE("an odd key is unknown, never absent or free", "[unit][consul]") {
  for (const char* body :
       {"", "[]", "{}", "[1]", R"([{"ModifyIndex": 3}])", R"([{"Flags": 0}])",
        R"([{"Flags": -1, "ModifyIndex": 3}])", R"([{"Flags": 0, "ModifyIndex": 3, "Session": null}])",
        R"([{"Flags": 0, "ModifyIndex": 3}, {"Flags": 0, "ModifyIndex": 3}])"}) {
    INFO(body);
    CHECK_FALSE(consul::decode_key({200, headers, body}));
  }
  CHECK_FALSE(consul::decode_key({500, headers, held}));
  CHECK_FALSE(consul::decode_key({403, headers, held}));
  CHECK_FALSE(consul::decode_key({404, {{"X-Consul-Knownleader", "true"}}, ""}));
  CHECK_FALSE(consul::decode_key({404, {{"X-Consul-Index", "21"}}, ""}));
}

TEST_CASE("only true is true", "[unit][consul]") {
  Peer peer;
  peer.says(200, "true\n");
  peer.says(200, "false");
  peer.says(200, "");
  peer.says(200, "yes");
  peer.says(200, "\"true\"");
  peer.says(500, "invalid session \"x\"");
  const auto acquired = [&] { return peer.client.acquire("skep/a b/leader", "s/1", "holder"); };
  CHECK(acquired().value());
  CHECK_FALSE(acquired().value());
  for (int i = 0; i < 4; ++i) CHECK_FALSE(acquired());
  CHECK(peer.script.asked[0].target == "v1/kv/skep/a%20b/leader?acquire=s%2F1");
  CHECK(peer.script.asked[0].body == "holder");
}

TEST_CASE("a number is written only over what was read", "[unit][consul]") {
  Peer peer;
  peer.says(200, "true");
  peer.says(200, "false");
  CHECK(peer.client.put_if_unchanged("skep/farm/leader-epoch", 8, 21).value());
  CHECK_FALSE(peer.client.put_if_unchanged("skep/farm/leader-epoch", 8, 0).value());
  CHECK(peer.script.asked[0].target == "v1/kv/skep/farm/leader-epoch?cas=21&flags=8");
  CHECK(peer.script.asked[0].body == "8");
}

TEST_CASE("a session is bound to the service's check and its node's", "[unit][consul]") {
  Peer peer;
  peer.says(200, R"({"ID": "adf4238a"})");
  peer.says(500, "Check 'service:x' is in critical state");
  peer.says(200, "{}");
  CHECK(peer.client.create_session("skep", "skep-scheduler-1", seconds(1)).value() == "adf4238a");
  CHECK_FALSE(peer.client.create_session("skep", "skep-scheduler-1", seconds(1)));
  CHECK_FALSE(peer.client.create_session("skep", "skep-scheduler-1", seconds(1)));
  const json::Json body = json::parse_strict(peer.script.asked.at(0).body).value();
  CHECK(body["ServiceChecks"][0]["ID"] == "service:skep-scheduler-1");
  CHECK(body["NodeChecks"][0] == "serfHealth");
  CHECK(body["LockDelay"] == "1000ms");
}

}  // namespace lock_test
