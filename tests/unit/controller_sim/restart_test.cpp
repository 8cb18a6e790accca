#include "tests/unit/controller_sim/controller_fixture.h"

namespace skep::controller_sim::restart_test {

TEST_CASE("a restart keeps ids and permanent nodes, and loses swarm nodes and freestyle builds") {
  Farm farm;
  farm.sentinel();
  farm.job("long", "m");
  farm.job("w1", "nolab1");
  farm.schedule("long");
  const std::int64_t waiting = farm.schedule("w1");
  farm.create("r1", "m");
  farm.connect("r1");
  farm.create("kept", "k", "&keepDisconnectedClients=true");
  farm.connect("kept");
  farm.until([&] { return farm.builds_on("r1") == 1; });
  const std::string session = farm.model.session();
  const std::string secret = farm.model.secret_of("r1");
  farm.model.restart(true, farm.now);
  CHECK_FALSE(farm.model.listening());
  CHECK(farm.get("/api/json").delivery.drop_connection);
  farm.pass(milliseconds(3600));
  CHECK(farm.model.listening());
  CHECK(farm.get("/api/json").status == 503);
  CHECK(farm.model.agent_connect("kept", farm.model.secret_of("kept"), farm.now).status == 503);
  farm.pass(milliseconds(2500));
  CHECK(farm.get("/api/json").status == 200);
  CHECK(farm.model.session() != session);
  CHECK(farm.model.node_names() == std::vector<std::string>{"skep-sentinel"});
  CHECK(farm.model.builds().front().result == "FAILURE");
  CHECK(farm.why(waiting) == "There are no nodes with the label " + quoted_name("nolab1"));
  CHECK(farm.model.secret_of("r1") == secret);
}

TEST_CASE("a crash may lose the last minute of the queue and use its ids again") {
  Farm farm;
  farm.job("w1", "nolab1");
  const std::int64_t old = farm.schedule("w1", 1);
  farm.pass(minutes(2));
  const std::int64_t young = farm.schedule("w1", 2);
  farm.model.restart(false, farm.now, milliseconds(100), milliseconds(100));
  farm.pass(seconds(2));
  CHECK(farm.get("/queue/item/" + std::to_string(old) + "/api/json").status == 200);
  CHECK(farm.get("/queue/item/" + std::to_string(young) + "/api/json").status == 404);
  CHECK(farm.schedule("w1", 3) == young);
}

TEST_CASE("a node block survives a restart when its node comes back") {
  Farm farm;
  farm.sentinel();
  farm.pipeline("p", "g3");
  farm.schedule("p");
  farm.create("s1", "g3");
  farm.connect("s1");
  farm.until([&] { return farm.builds_on("s1") == 1; });
  farm.model.restart(true, farm.now);
  farm.pass(seconds(10));
  const std::string queue = farm.get("/queue/api/json?tree=items[why,stuck]").body;
  CHECK(queue.find("There are no nodes with the label " + quoted_name("s1")) != std::string::npos);
  SECTION("it goes on") {
    farm.pipeline("other", "g3");
    farm.schedule("other");
    farm.create("s1", "g3");
    farm.model.take_agent_commands();
    farm.connect("s1");
    farm.until([&] { return farm.model.builds().front().resumed == 1; });
    const std::vector<AgentCommand> commands = farm.model.take_agent_commands();
    REQUIRE(commands.size() == 1);
    CHECK(commands.front().kind == AgentCommandKind::resume_build);
    CHECK(farm.model.builds().size() == 1);  // the foreign item had to wait
    farm.finish("s1");
    CHECK(farm.model.builds().front().result == "SUCCESS");
    CHECK(farm.get("/job/p/1/api/json?tree=building,result").body.find(R"("result":"SUCCESS")") !=
          std::string::npos);
  }
  SECTION("after five minutes it is given up") {
    farm.pass(minutes(6));
    CHECK(farm.model.builds().front().result == "ABORTED");
    CHECK(farm.get("/job/p/1/api/json?tree=building,result").body.find(R"("result":"ABORTED")") !=
          std::string::npos);
    CHECK(farm.model.queue_length() == 0);
  }
}

}  // namespace skep::controller_sim::restart_test
