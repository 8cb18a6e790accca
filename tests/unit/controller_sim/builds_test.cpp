// Assignment, the gate, second builds, lost agents, the one-shot hook.
#include "tests/unit/controller_sim/controller_fixture.h"

namespace skep::controller_sim::builds_test {

TEST_CASE("a connected node takes a matching item") {
  Farm farm;
  farm.job("one", "linux");
  const std::int64_t id = farm.schedule("one");
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  CHECK(farm.model.builds().front().queue_id == id);
  CHECK(farm.get("/computer/n1/api/json?tree=idle").body ==
        R"({"_class":"hudson.slaves.SlaveComputer","idle":false})");
  const std::vector<AgentCommand> commands = farm.model.take_agent_commands();
  REQUIRE(commands.size() == 1);
  CHECK(commands.front().kind == AgentCommandKind::run_build);
  CHECK_FALSE(commands.front().survives_agent);
  farm.finish("n1");
  CHECK(farm.model.builds().front().result == "SUCCESS");
}

TEST_CASE("between assignment and start the executor is busy and shows nothing") {
  Farm farm;
  farm.job("one", "linux");
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.schedule("one");
  const std::string state = "/computer/n1/api/json?tree=executors[currentExecutable[number],idle]";
  farm.until([&] { return farm.get(state).body.find("\"idle\":false") != std::string::npos; });
  CHECK(farm.get(state).body.find("\"currentExecutable\":null") != std::string::npos);
  CHECK(farm.builds_on("n1") == 0);
  farm.until([&] { return farm.builds_on("n1") == 1; });
  CHECK(farm.get(state).body.find("\"number\":1") != std::string::npos);
}

TEST_CASE("an open node takes a second build, a closed one does not") {
  Farm farm;
  farm.job("one", "linux");
  for (int i = 0; i < 3; ++i) farm.schedule("one", i);
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  SECTION("open") {
    farm.finish("n1");
    farm.until([&] { return farm.builds_on("n1") == 2; }, milliseconds(100));
  }
  SECTION("closed while it runs") {
    farm.close_gate("n1");
    farm.finish("n1");
    farm.pass(seconds(30));
    CHECK(farm.builds_on("n1") == 1);
    CHECK(farm.model.queue_length() == 2);
  }
}

TEST_CASE("an empty block is over before a slow poller looks") {
  Farm farm;
  farm.job("one", "linux", true);
  for (int i = 0; i < 5; ++i) farm.schedule("one", i);
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.pass(milliseconds(400));
  CHECK(farm.builds_on("n1") >= 2);
}

TEST_CASE("closing between assignment and start sends the item back unharmed") {
  Farm farm;
  farm.job("one", "linux");
  const std::int64_t id = farm.schedule("one");
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until(
      [&] { return farm.get("/computer/n1/api/json?tree=idle").body.find("false") != std::string::npos; });
  farm.close_gate("n1");
  farm.pass(seconds(6));
  CHECK(farm.builds_on("n1") == 0);
  CHECK(farm.why(id) == quoted_name("n1") + " is offline");
}

TEST_CASE("opening is no kick, another node is") {
  Farm farm;
  farm.job("one", "linux");
  farm.schedule("one");
  farm.create("n1", "linux");
  farm.close_gate("n1");
  farm.connect("n1");
  farm.pass(seconds(20) + milliseconds(200));  // with this seed a tick of the queue was 112 ms ago
  const Instant opened = farm.now;
  farm.open_gate("n1");
  SECTION("without a kick the tick assigns") {
    farm.until([&] { return farm.builds_on("n1") == 1; }, milliseconds(5100));
    CHECK(farm.now - opened > milliseconds(100));
  }
  SECTION("with a kick it is a matter of milliseconds") {
    farm.create("kick", "");
    farm.until([&] { return farm.builds_on("n1") == 1; }, milliseconds(50));
  }
  SECTION("createSlave of the same name is none") {
    farm.create("n1", "linux", "&deleteExistingClients=true");
    farm.pass(milliseconds(100));
    CHECK(farm.builds_on("n1") == 0);
  }
  SECTION("end of a quiet-down that was not there is one") {
    REQUIRE(farm.post("/cancelQuietDown").status == 302);
    farm.until([&] { return farm.builds_on("n1") == 1; }, milliseconds(50));
  }
}

TEST_CASE("deleting the node of a freestyle build ends it at once") {
  Farm farm;
  farm.job("one", "linux");
  farm.schedule("one");
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  farm.model.take_agent_commands();
  REQUIRE(farm.post("/computer/n1/doDelete").status == 302);
  CHECK(farm.get("/computer/n1/api/json").status == 200);  // lingers until the body ends
  const std::vector<AgentCommand> commands = farm.model.take_agent_commands();
  REQUIRE(commands.size() == 1);
  CHECK(commands.front().kind == AgentCommandKind::close_channel);
  farm.pass(milliseconds(100));
  CHECK(farm.model.builds().front().result == "FAILURE");
  CHECK(farm.get("/computer/n1/api/json").status == 404);
}

TEST_CASE("a swarm node goes with its channel unless it is kept") {
  Farm farm;
  farm.create("n1", "linux");
  farm.create("kept", "linux", "&keepDisconnectedClients=true");
  farm.connect("n1");
  farm.connect("kept");
  farm.model.agent_disconnect("n1", farm.now);
  farm.model.agent_disconnect("kept", farm.now);
  farm.pass(milliseconds(100));
  CHECK(farm.get("/computer/n1/api/json").status == 404);
  const HttpReply kept = farm.get("/computer/kept/api/json?tree=offline,offlineCauseReason");
  CHECK(kept.body.find("Connection was broken") != std::string::npos);
}

TEST_CASE("a name made again while its computer lingers loses its computer") {
  Farm farm;
  farm.pipeline("p", "linux");
  farm.schedule("p");
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  REQUIRE(farm.post("/computer/n1/doDelete").status == 302);
  CHECK(farm.get("/computer/n1/api/json?tree=numExecutors,idle")
            .body.find("\"idle\":false,\"numExecutors\":0") != std::string::npos);
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.model.build_finished_on_agent("n1", farm.model.builds().front().id, farm.now);
  farm.pass(seconds(1));
  CHECK(farm.get("/computer/n1/api/json").status == 404);
  CHECK(farm.model.node_names() == std::vector<std::string>{"n1"});
}

TEST_CASE("a pipeline block whose agent is lost is aborted after five minutes") {
  Farm farm;
  farm.pipeline("p", "linux");
  farm.schedule("p");
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  farm.model.agent_disconnect("n1", farm.now);
  farm.pass(minutes(4));
  CHECK(farm.model.builds().front().result.empty());
  SECTION("never back") {
    farm.pass(minutes(2));
    CHECK(farm.model.builds().front().result == "ABORTED");
  }
  SECTION("back but set offline counts as not back") {
    farm.create("n1", "linux");
    farm.connect("n1");
    farm.close_gate("n1");
    farm.pass(minutes(2));
    CHECK(farm.model.builds().front().result == "ABORTED");
  }
  SECTION("back and open goes on") {
    farm.create("n1", "linux");
    farm.connect("n1");
    farm.pass(minutes(2));
    CHECK(farm.model.builds().front().result.empty());
    farm.finish("n1");
    CHECK(farm.model.builds().front().result == "SUCCESS");
  }
}

TEST_CASE("the hook makes a node exactly one-shot") {
  Farm farm;
  const std::string script =
      "class OneShotGateV1 implements ExecutorListener { boolean mine(e) { e.labels.any { it.name == "
      "'oneshot' } } }\n"
      "println 'oneshot-gate-v1 ok'\n";
  for (int i = 0; i < 2; ++i) {
    const HttpReply reply = farm.post("/scriptText", "script=" + percent_encode_form(script));
    CHECK(reply.body == "oneshot-gate-v1 ok\n");
  }
  farm.job("one", "linux", true);
  for (int i = 0; i < 20; ++i) farm.schedule("one", i);
  farm.create("h0", "linux+oneshot");
  farm.connect("h0");
  farm.pass(seconds(10));
  CHECK(farm.builds_on("h0") == 1);
  CHECK(farm.get("/computer/h0/api/json").status == 404);
  CHECK(farm.model.queue_length() == 19);
}

TEST_CASE("the same seed gives the same history") {
  const auto history = [](std::uint64_t seed) {
    Options options;
    options.seed = seed;
    ControllerModel model(options, Instant{});
    JobSpec spec;
    spec.path = "one";
    spec.label = "linux";
    spec.concurrent = true;
    spec.empty_block = true;
    model.create_job(spec);
    model.create_permanent_node("n", "linux", true, 1, Instant{});
    model.agent_connect("n", model.secret_of("n"), Instant{});
    for (int i = 0; i < 10; ++i) model.schedule("one", Instant{}, {{"N", std::to_string(i)}});
    model.advance(Instant{} + seconds(30));
    std::vector<std::int64_t> ends;
    for (const BuildRecord& build : model.builds()) ends.push_back((*build.ended_at - Instant{}).count());
    return ends;
  };
  REQUIRE(history(7).size() == 10);
  CHECK(history(7) == history(7));
  CHECK(history(7) != history(8));
}

}  // namespace skep::controller_sim::builds_test
