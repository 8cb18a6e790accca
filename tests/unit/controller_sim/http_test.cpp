// Authentication, permissions, tree, createSlave, config.xml, the companion, faults.
#include <algorithm>

#include "tests/unit/controller_sim/controller_fixture.h"

namespace skep::controller_sim::http_test {
namespace {

std::string header(const HttpReply& reply, const std::string& name) {
  const auto found = std::find_if(reply.headers.begin(), reply.headers.end(),
                                  [&](const auto& each) { return each.first == name; });
  return found == reply.headers.end() ? "" : found->second;
}

}  // namespace

TEST_CASE("who may do what") {
  std::vector<User> users{
      {"skep", "t", "p", {"Overall/Read", "Job/Read", "Agent/Create", "Agent/Disconnect"}}};
  Farm farm("2.479.3", users);
  farm.authorization = "Basic c2tlcDp0";  // skep:t
  farm.create("p1", "other");             // Agent/Connect is implied by Disconnect
  const HttpReply refused = farm.post("/computer/p1/doDelete");
  CHECK(refused.status == 403);
  CHECK(header(refused, "X-Required-Permission") == "hudson.model.Computer.Delete");
  CHECK(header(refused, "X-You-Are-Authenticated-As") == "skep");
  CHECK(header(farm.post("/scriptText", "script=println+1"), "X-Required-Permission") ==
        "hudson.model.Hudson.Administer");
  farm.authorization = "Basic c2tlcDp4";  // wrong
  const HttpReply unknown = farm.get("/api/json");
  CHECK(unknown.status == 401);
  CHECK(header(unknown, "WWW-Authenticate") == "Basic realm=\"Jenkins\"");
}

TEST_CASE("a password needs a crumb with its session") {
  Farm farm;
  farm.authorization = "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=";  // admin:admin-password
  CHECK(farm.post("/computer/nosuch/toggleOffline").status == 403);
  const HttpReply issued = farm.get("/crumbIssuer/api/json");
  const std::string crumb = json_string_field(issued.body, "crumb").value();
  const std::string cookie = header(issued, "Set-Cookie").substr(0, header(issued, "Set-Cookie").find(';'));
  HttpRequest request{"POST",
                      "/computer/nosuch/toggleOffline",
                      {{"Authorization", farm.authorization}, {"Jenkins-Crumb", crumb}},
                      ""};
  CHECK(farm.model.handle(request, farm.now, farm.wall()).status == 403);
  request.headers.emplace_back("Cookie", cookie);
  CHECK(farm.model.handle(request, farm.now, farm.wall()).status == 404);
}

TEST_CASE("tree and depth") {
  Farm farm;
  CHECK(farm.get("/queue/api/json").body ==
        R"({"_class":"hudson.model.Queue","discoverableItems":[],"items":[]})");
  CHECK(farm.get("/queue/api/json?tree=foo,items%5Bbar%5D").body ==
        R"({"_class":"hudson.model.Queue","items":[]})");
  CHECK(farm.get("/queue/api/json?tree=items%5Bid").status == 500);
  CHECK(farm.get("/queue/api/json?depth=x").status == 500);
  CHECK(
      farm.get("/computer/api/json?tree=computer%5BdisplayName%5D%7B0,1%7D").body ==
      R"({"_class":"hudson.model.ComputerSet","computer":[{"_class":"hudson.model.Hudson$MasterComputer","displayName":"Built-In Node"}]})");
  CHECK(farm.get("/computer/nosuch/api/json").body.size() > 70000);
  CHECK(farm.get("/computer/(built-in)/toggleOffline").status == 405);
  CHECK(farm.get("/plugin/swarm/createSlave?name=q").status == 404);
  CHECK(header(farm.get("/api/json"), "X-Jenkins") == "2.479.3");
}

TEST_CASE("createSlave: conflicts, names, escapes") {
  Farm farm;
  const auto create = [&](const std::string& parameters) {
    return farm.post("/plugin/swarm/createSlave", parameters + "&executors=1&labels=l");
  };
  CHECK(create("name=c1&mode=EXCLUSIVE").status == 200);
  const HttpReply again = create("name=c1&mode=EXCLUSIVE");
  CHECK(again.status == 409);
  CHECK(again.body == "Agent \"c1\" already exists.\n");
  CHECK(create("name=c1&mode=EXCLUSIVE&deleteExistingClients=true").status == 200);
  CHECK(create("name=c1&hash=cafe&mode=EXCLUSIVE").body.find("name=c1-cafe\n") != std::string::npos);
  CHECK(create("name=c1&hash=cafe&mode=EXCLUSIVE").status == 200);
  farm.connect("c1-cafe");
  CHECK(create("name=c1&hash=cafe&mode=EXCLUSIVE").body ==
        "Agent \"c1-cafe\" is already created and on-line.\n");
  CHECK(header(create("name=a%2Fb&mode=NORMAL"), "X-Error") == "/  is an unsafe character");
  CHECK(header(create("name=&mode=NORMAL"), "X-Error") == "No name is specified");
  CHECK(create("name=ml&mode=exclusive").status == 500);
  CHECK(create("name=%C3%BCn%C3%AF&mode=NORMAL").body.find("name=\\u00FCn\\u00EF\n") != std::string::npos);
  CHECK(create("name=+lead&mode=NORMAL").body.find("name=\\ lead\n") != std::string::npos);
  CHECK(farm.get("/plugin/swarm/getSlaveLabels?name=zz").status == 404);
}

TEST_CASE("config.xml opens the gate where the flag lives in the node") {
  const std::string core = GENERATE("2.479.3", "2.528.3");
  Farm farm(core);
  farm.create("n1", "a");
  const std::string open_xml = farm.get("/computer/n1/config.xml").body;
  farm.close_gate("n1");
  const std::string closed_xml = farm.get("/computer/n1/config.xml").body;
  CHECK(closed_xml.find("<string> : gate</string>") != std::string::npos);
  const auto put = [&](const std::string& xml) {
    return farm.send("POST", "/computer/n1/config.xml", xml, "application/xml");
  };
  CHECK(put("nonsense").status == 500);
  CHECK(put("<slave></slave>").status == 400);
  CHECK(farm.send("POST", "/computer/n1/config.xml", open_xml).status == 500);
  REQUIRE(put(open_xml).status == 200);
  const bool in_node = core == "2.528.3";
  const std::string flag = "/computer/n1/api/json?tree=temporarilyOffline";
  CHECK((farm.get(flag).body.find("false") != std::string::npos) == in_node);
  REQUIRE(put(closed_xml).status == 200);
  CHECK(farm.get(flag).body.find("true") != std::string::npos);
}

TEST_CASE("the companion reports events and wakes a waiting request") {
  Farm farm;
  const std::string wait_script =
      "def l = find { it.class.name == 'SkepQueueV1' }\nif (l == null) { println 'skep-companion absent'; "
      "return }\ndef r = l.hub.since(1L, 10000L)\n";
  const auto script = [&](const std::string& text) {
    return farm.post("/scriptText", "script=" + percent_encode_form(text));
  };
  CHECK(script(wait_script).body == "skep-companion absent\n");
  farm.job("one", "c1 && linux");
  farm.sentinel();
  farm.schedule("one", 1);
  farm.pass(seconds(1));
  const HttpReply installed = script(
      "class SkepQueueV1 extends QueueListener {}\nclass SkepExecutorsV1 implements ExecutorListener { any { "
      "it.name == 'skep-one-shot' } }\n"
      "println \"skep-companion 1 ${old.hub.boot} ${old.hub.next}\"\n");
  CHECK(installed.body.find("skep-companion 1 ") == 0);
  CHECK(installed.body.find(" 1\n1 buildable c1&&linux\n") != std::string::npos);
  const HttpReply waiting = script(wait_script);
  REQUIRE(waiting.parked);
  farm.pass(milliseconds(500));
  CHECK(farm.model.take_finished_replies().empty());
  farm.schedule("one", 2);
  const auto finished = farm.model.take_finished_replies();
  REQUIRE(finished.size() == 1);
  CHECK(finished.front().first == *waiting.parked);
  CHECK(finished.front().second.body.find(" 1 2\n1 waiting 2 c1&&linux\n") != std::string::npos);
  farm.create("cx1", "c1+linux+skep-one-shot");
  farm.connect("cx1");
  farm.until([&] { return farm.builds_on("cx1") == 1; });
  farm.finish("cx1");
  farm.pass(milliseconds(100));
  const std::string events =
      script("if (l == null) { println 'skep-companion absent' }\nl.hub.since(3L, 0L)").body;
  CHECK(events.find("3 online cx1\n4 left 1 c1&&linux\n5 accepted cx1\n6 completed cx1\n7 offline cx1\n") !=
        std::string::npos);
}

TEST_CASE("faults") {
  Farm farm;
  const auto with = [&](FaultKind kind, std::int64_t value = 0) {
    farm.model.clear_faults();
    farm.model.misbehave({"queue/api", kind, value, 1});
    return farm.get("/queue/api/json");
  };
  CHECK(with(FaultKind::status, 503).status == 503);
  CHECK(with(FaultKind::html_with_200).body.find("<html") != std::string::npos);
  CHECK(with(FaultKind::half_json).body.size() < 50);
  CHECK(with(FaultKind::duplicate_keys).body.find(R"({"_class":"hudson.model.Queue","_class")") == 0);
  CHECK(with(FaultKind::redirect_to_login).status == 302);
  CHECK(with(FaultKind::drop_reply).delivery.drop_connection);
  CHECK(with(FaultKind::truncate_body, 50).delivery.cut_body_at.has_value());
  CHECK(with(FaultKind::delay, 700).delivery.delay == milliseconds(700));
  CHECK(farm.get("/queue/api/json").delivery.delay == Duration{});  // it was for one request
  farm.job("one", "linux");
  farm.model.misbehave({"queue/api", FaultKind::stale_list, 0, std::nullopt});
  const std::string before = farm.get("/queue/api/json").body;
  farm.schedule("one");
  CHECK(farm.get("/queue/api/json").body == before);
  farm.model.clear_faults();
  CHECK(farm.get("/queue/api/json").body != before);
}

TEST_CASE("joining is refused as recorded") {
  Farm farm;
  farm.create("n1", "a");
  CHECK(farm.model.agent_connect("nosuch", "x", farm.now).status == 400);
  CHECK(farm.model.agent_connect("n1", "x", farm.now).status == 403);
  farm.connect("n1");
  const ConnectResult second = farm.model.agent_connect("n1", farm.model.secret_of("n1"), farm.now);
  CHECK(second.status == 400);
  CHECK(second.message == "n1 is already connected to this controller. Rejecting this connection.");
}

}  // namespace skep::controller_sim::http_test
