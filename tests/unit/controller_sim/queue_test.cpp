// Folding, blocking, why texts, the label cache.
#include "tests/unit/controller_sim/controller_fixture.h"

namespace skep::controller_sim::queue_test {

TEST_CASE("equal items fold, different ones do not") {
  Farm farm;
  farm.job("one", "linux");
  const auto first = farm.model.schedule("one", farm.now);
  farm.pass(seconds(1));
  CHECK(farm.model.schedule("one", farm.now) == first);
  CHECK(farm.model.schedule("one", farm.now, {{"A", "1"}}) != first);
  CHECK(farm.model.queue_length() == 2);
  const HttpReply again = farm.post("/job/one/build?delay=0sec");
  CHECK(again.status == 201);
  CHECK(again.headers.back().second == "http://localhost:8080/queue/item/" + std::to_string(*first) + "/");
}

TEST_CASE("why texts as recorded, by the set of nodes") {
  const std::string core = GENERATE("2.479.3", "2.528.3");
  Farm farm(core);
  const auto schedule = [&](const std::string& name, const std::string& label) {
    farm.job(name, label);
    return farm.schedule(name);
  };
  const std::int64_t any = schedule("any", "");
  const std::int64_t linux_item = schedule("linux", "linux");
  const std::int64_t both = schedule("and", "linux && x86");
  const std::int64_t parentheses = schedule("parentheses", "linux && (x86||arm)");
  const std::int64_t negative = schedule("not", "!windows");
  const std::int64_t quoted_label = schedule("quoted", "\"a b\"");
  const std::int64_t unparsable = schedule("unparsable", "linux && && x");
  farm.pass(seconds(6));

  CHECK(farm.why(linux_item) == "Waiting for next available executor");
  CHECK(farm.why(negative) == "Waiting for next available executor");

  farm.sentinel();
  farm.pass(seconds(6));
  CHECK(farm.why(any) == "Waiting for next available executor");
  CHECK(farm.why(linux_item) == "There are no nodes with the label " + quoted_name("linux"));
  CHECK(farm.why(both) == "There are no nodes with the label " + quoted_name("linux&&x86"));
  CHECK(farm.why(parentheses) == "There are no nodes with the label " + quoted_name("linux&&(x86||arm)"));
  CHECK(farm.why(negative) == "Waiting for next available executor on " + quoted_name("!windows"));
  CHECK(farm.why(quoted_label) == "There are no nodes with the label " + quoted_name("a b"));
  CHECK(farm.why(unparsable) == "There are no nodes with the label " + quoted_name("linux && && x"));
  CHECK(farm.get("/queue/item/" + std::to_string(negative) + "/api/json?tree=stuck").body.find("false") !=
        std::string::npos);
  CHECK(farm.get("/queue/item/" + std::to_string(linux_item) + "/api/json?tree=stuck").body.find("true") !=
        std::string::npos);
  CHECK(farm.get("/queue/item/" + std::to_string(unparsable) + "/api/json?tree=task[labelExpression]")
            .body.find(R"("\"linux && && x\"")") != std::string::npos);

  farm.create("n1", "linux+x86");
  CHECK(farm.why(linux_item) == quoted_name("n1") + " is offline");
  farm.create("n2", "linux+arm");
  CHECK(farm.why(linux_item) == "All nodes of label " + quoted_name("linux") + " are offline");
  CHECK(farm.why(both) == quoted_name("n1") + " is offline");
}

TEST_CASE("busy and reserved nodes") {
  Farm farm;
  farm.sentinel();
  farm.job("linux", "linux");
  farm.job("any", "");
  farm.schedule("linux", 1);
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  const std::int64_t second = farm.schedule("linux", 2);
  const std::int64_t any = farm.schedule("any");
  farm.pass(seconds(6));
  CHECK(farm.why(second) == "Waiting for next available executor on " + quoted_name("n1"));
  CHECK(farm.why(any) == "Waiting for next available executor");
  farm.finish("n1");
  farm.until([&] { return farm.builds_on("n1") == 2; });
  farm.finish("n1");
  farm.pass(seconds(6));
  const std::string reserved = " is reserved for jobs with matching label expression";
  CHECK(farm.why(any) == quoted_name("n1") + reserved + "; " + quoted_name("skep-sentinel") + reserved);
}

TEST_CASE("quiet period, serial jobs, quiet-down, cancel") {
  Farm farm;
  JobSpec serial;
  serial.path = "serial";
  serial.label = "linux";
  farm.model.create_job(serial);
  farm.sentinel();
  const auto waiting = farm.model.schedule("serial", farm.now, {}, seconds(60));
  farm.pass(milliseconds(500));
  CHECK(farm.why(*waiting) == "In the quiet period. Expires in 59 sec");
  CHECK(farm.post("/queue/cancelItem?id=" + std::to_string(*waiting)).status == 204);
  CHECK(farm.post("/queue/cancelItem?id=" + std::to_string(*waiting)).status == 500);
  CHECK(farm.post("/queue/cancelItem?id=99999").status == 404);
  farm.schedule("serial", 1);
  farm.create("n1", "linux");
  farm.connect("n1");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  const std::int64_t next = farm.schedule("serial", 2);
  farm.pass(milliseconds(50));
  CHECK(farm.why(next) == "Build #1 is already in progress (ETA: N/A)");
  CHECK(farm.get("/queue/item/" + std::to_string(next) + "/api/json").body.find("Queue$BlockedItem") !=
        std::string::npos);
  REQUIRE(farm.post("/quietDown").status == 302);
  farm.finish("n1");
  farm.pass(seconds(6));
  CHECK(farm.why(next) == "Jenkins is about to shut down");
  REQUIRE(farm.post("/cancelQuietDown").status == 302);
  farm.until([&] { return farm.builds_on("n1") == 2; }, milliseconds(100));
}

TEST_CASE("a removed label stays in the cache: 2.479 assigns, 2.528 asks again when the gate opens") {
  const std::string core = GENERATE("2.479.3", "2.528.3");
  Farm farm(core);
  farm.job("zlab", "zlab");
  farm.create("m1", "zlab");
  farm.close_gate("m1");
  const std::int64_t id = farm.schedule("zlab");
  farm.connect("m1");
  farm.pass(seconds(6));
  CHECK(farm.post("/plugin/swarm/addSlaveLabels", "name=m1&labels=new1+new2").body ==
        "<labelResponse><labels>swarm zlab new1 new2</labels></labelResponse>");
  CHECK(farm.post("/plugin/swarm/removeSlaveLabels", "name=m1&labels=zlab").body ==
        "<labelResponse><labels>swarm new1 new2</labels></labelResponse>");
  CHECK(farm.get("/label/zlab/api/json?tree=nodes[nodeName]").body.find("m1") != std::string::npos);
  farm.open_gate("m1");
  farm.pass(seconds(6));
  if (core == "2.479.3") {
    CHECK(farm.builds_on("m1") == 1);
  } else {
    CHECK(farm.builds_on("m1") == 0);
    CHECK(farm.why(id) == "There are no nodes with the label " + quoted_name("zlab"));
  }
}

TEST_CASE("a node block shows no label; left items stay five minutes") {
  Farm farm;
  farm.pipeline("Team A/p", "linux");
  farm.sentinel();
  farm.schedule("Team A/p");
  farm.until([&] { return farm.model.queue_length() == 1; });
  farm.pass(milliseconds(100));
  const std::string queue = farm.get("/queue/api/json?tree=items[why,task[*]]").body;
  CHECK(
      queue.find(
          R"("fullDisplayName":"part of Team A » p #1","name":"part of Team A » p #1","url":"job/Team%20A/job/p/1/")") !=
      std::string::npos);
  CHECK(queue.find("labelExpression") == std::string::npos);
  const HttpReply left = farm.get("/queue/item/1/api/json");
  CHECK(left.body.find("Queue$LeftItem") != std::string::npos);
  farm.pass(minutes(5) + seconds(6));
  CHECK(farm.get("/queue/item/1/api/json").status == 404);
}

}  // namespace skep::controller_sim::queue_test
