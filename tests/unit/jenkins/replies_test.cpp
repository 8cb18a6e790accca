#include "scheduler/jenkins/replies.h"

#include <catch2/catch.hpp>

#include "scheduler/jenkins/scripts.h"

namespace replies_test {

using namespace skep;
using namespace skep::scheduler;

namespace {

const char* const one_item =
    R"({"_class":"hudson.model.Queue","items":[{"_class":"hudson.model.Queue$BuildableItem","blocked":false,"buildable":true,"id":812,)"
    R"("inQueueSince":1790000001000,"stuck":true,"task":{"_class":"x$PlaceholderTask","fullDisplayName":"part of app #12","name":"part of app #12",)"
    R"("url":"job/app/12/"},"why":"There are no nodes with the label ‘linux&&x86’","buildableStartMilliseconds":1790000001200,"pending":false}]})";

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

}  // namespace

TEST_CASE("one item, every field") {
  const auto items = parse_queue_reply(one_item);
  REQUIRE(items);
  REQUIRE(items->size() == 1);
  const QueueItem& item = items->front();
  CHECK(item.id == 812);
  CHECK(item.name == "part of app #12");
  CHECK(item.path == "job/app/12/");
  CHECK(item.is_pipeline_block);
  CHECK(item.stage == ItemStage::buildable);
  CHECK(item.label_source == LabelSource::unresolved);
  CHECK(item.in_queue_since.ms_since_epoch == 1790000001000);
  REQUIRE(item.buildable_since);
  CHECK(item.buildable_since->ms_since_epoch == 1790000001200);
  CHECK_FALSE(item.quiet_until);
}

TEST_CASE("a reply that is not wholly understood is refused as unknown, never taken for empty") {
  const std::string good = one_item;
  const std::string bad[] = {
      "",
      "{}",
      "[]",
      "null",
      "<!DOCTYPE html><html></html>",
      R"({"items":null})",
      R"({"items":{}})",
      R"({"items":[],"items":[]})",
      R"({"items":[null]})",
      R"({"items":[1]})",
      R"({"items":[{}]})",
      good.substr(0, good.size() / 2),
      good + "x",
      replaced(good, "\"id\":812", "\"id\":\"812\""),
      replaced(good, "\"id\":812", "\"id\":812.5"),
      replaced(good, "\"id\":812", "\"id\":99999999999999999999"),
      replaced(good, "\"id\":812", "\"id\":812,\"id\":813"),
      replaced(good, "\"id\":812,", ""),
      replaced(good, "\"buildable\":true", "\"buildable\":\"true\""),
      replaced(good, "\"buildable\":true,", ""),
      replaced(good, "\"why\":\"There", "\"why\":5,\"x\":\"There"),
      replaced(good, "\"pending\":false", "\"pending\":null"),
      replaced(good, "linux&&x86", "\xff"),
      replaced(good, "\"url\":\"job/app/12/\"", "\"url\":[]"),
      replaced(good, "\"task\":{", "\"task\":null,\"other\":{"),
      R"({"items":[)" + good.substr(good.find("[{") + 1, good.rfind("}]") - good.find("[{")) + "," +
          good.substr(good.find("[{") + 1, good.rfind("}]") - good.find("[{")) + "]}",
  };
  for (const std::string& text : bad) {
    INFO(text);
    const auto items = parse_queue_reply(text);
    REQUIRE_FALSE(items);
    CHECK(items.error().outcome == Outcome::unknown);
    CHECK(items.error().code == ErrorCode::malformed_reply);
  }
}

TEST_CASE("unknown fields are ignored") {
  const auto items =
      parse_queue_reply(replaced(one_item, "\"id\":812", "\"new\":{\"deep\":[1,null,\"x\"]},\"id\":812"));
  REQUIRE(items);
  CHECK(items->front().id == 812);
  CHECK(parse_queue_reply(R"({"items":[]})"));
}

TEST_CASE("labels: script before labelExpression before why, and never a guess") {
  const AnyNodeOf nodes({make_node_names({"Built-In Node", "n1"})});
  const auto settled = [&](const std::string& why, bool has_agents, const ScriptLabels& scripted = {},
                           std::optional<std::string> exported = std::nullopt) {
    QueueItem item;
    item.id = 7;
    item.why = why;
    if (exported) {
      item.label = exported;
      item.label_source = LabelSource::label_expression;
    }
    settle_label(item, scripted, has_agents, nodes);
    return item;
  };
  CHECK(settled("Waiting for next available executor", true).label == "");
  CHECK(settled("Waiting for next available executor", false).label_source == LabelSource::unresolved);
  CHECK(settled("There are no nodes with the label ‘a’", false).label == "a");
  CHECK(settled("There are no nodes with the label ‘n1’", true).label == "n1");
  CHECK(settled("Waiting for next available executor on ‘a’", true).label == "a");

  const QueueItem named = settled("Waiting for next available executor on ‘n1’", true);
  CHECK(named.label_source == LabelSource::unresolved);
  CHECK_FALSE(named.label);
  CHECK(named.matching_node == "n1");
  CHECK(settled("‘n1’ is offline", true).matching_node == "n1");

  CHECK(settled("‘n1’ is offline", true, {}, "x && y").label == "x && y");
  const QueueItem told = settled("There are no nodes with the label ‘a’", true, {{7, "b"}, {8, "c"}}, "a");
  CHECK(told.label == "b");
  CHECK(told.label_source == LabelSource::script);
  CHECK(settled("", true, {{7, std::nullopt}}).label == "");
  CHECK(settled("Es gibt keine Knoten", true).label_source == LabelSource::unresolved);
}

TEST_CASE("the label script's output counts only between its markers") {
  const std::string good =
      "skep-labels-1\n10725 null\n10724 \"\\\"linux && && x\\\"\"\n10723 \"linux&&x86\"\nskep-labels-end\n";
  const auto labels = parse_label_listing(good);
  REQUIRE(labels);
  CHECK(labels->size() == 3);
  CHECK(labels->at(10725) == std::nullopt);
  CHECK(labels->at(10724) == "\"linux && && x\"");
  CHECK(parse_label_listing("skep-labels-1\r\n5 \"a\"\r\nskep-labels-end\r\n")->at(5) == "a");
  CHECK(parse_label_listing("skep-labels-1\nskep-labels-end\n")->empty());
  const std::string bad[] = {
      "",
      "skep-labels-1\n",
      "10723 \"linux\"\nskep-labels-end\n",
      "skep-labels-1\n10723 \"linux\"\njava.lang.IllegalStateException: boom\n\tat x\n",
      "skep-labels-1\n10723 linux\nskep-labels-end\n",
      "skep-labels-1\n10723\nskep-labels-end\n",
      "skep-labels-1\nx \"linux\"\nskep-labels-end\n",
      "skep-labels-1\n1 \"linux\" 2\nskep-labels-end\n",
      "skep-labels-1\n1 5\nskep-labels-end\n",
      "org.codehaus.groovy.control.MultipleCompilationErrorsException: startup failed:\nprintln "
      "'skep-labels-end'\n",
  };
  for (const std::string& text : bad) {
    INFO(text);
    CHECK_FALSE(parse_label_listing(text));
  }
}

TEST_CASE("the marker label of the hook's script is the one that nodes get") {
  CHECK(std::string_view(one_build_hook_script).find("'" + std::string(one_build_marker_label) + "'") !=
        std::string_view::npos);
  for (const auto& [script, marker] :
       {std::pair(one_build_hook_script, hook_marker), std::pair(probe_script, script_marker),
        std::pair(kick_script, kick_marker), std::pair(label_listing_script, label_listing_end)}) {
    CHECK(std::string_view(script).find("println '" + std::string(marker) + "'") != std::string_view::npos);
  }
}

TEST_CASE("nodes: an agent is any node but the built-in one, unless it only lingers") {
  const auto list = [](const std::string& nodes) {
    return parse_nodes_reply(R"({"computer":[)" + nodes + "]}");
  };
  const std::string built_in =
      R"({"_class":"hudson.model.Hudson$MasterComputer","displayName":"Built-In Node","offline":false,"temporarilyOffline":false,"idle":true,"numExecutors":0,"executors":[]})";
  const std::string agent =
      R"({"_class":"hudson.slaves.SlaveComputer","displayName":"n1","offline":true,"temporarilyOffline":true,"offlineCauseReason":"skep: x","idle":true,"numExecutors":1,"absoluteRemotePath":"/home/agent",)"
      R"("executors":[{"number":0,"idle":true,"currentExecutable":null}],"assignedLabels":[{"name":"n1"},{"name":"swarm"}]})";
  REQUIRE(list(built_in));
  CHECK_FALSE(list(built_in)->has_agents);
  const auto both = list(built_in + "," + agent);
  REQUIRE(both);
  CHECK(both->has_agents);
  const NodeFact& node = both->snapshot.nodes.at(1);
  CHECK(node.is_temporarily_offline);
  CHECK(node.offline_reason == "skep: x");
  CHECK(node.is_connected);
  CHECK(node.is_idle);
  CHECK(node.labels == std::vector<std::string>{"n1", "swarm"});
  const auto lingering = list(built_in + "," + replaced(agent, "\"numExecutors\":1", "\"numExecutors\":0"));
  REQUIRE(lingering);
  CHECK_FALSE(lingering->has_agents);
  CHECK(lingering->snapshot.nodes.at(1).executor_count == 0);

  CHECK_FALSE(list(""));
  CHECK_FALSE(list(replaced(agent, "\"idle\":true,\"numExecutors\"", "\"numExecutors\"")));
  CHECK_FALSE(list(replaced(agent, "\"executors\":[", "\"executors\":null,\"e\":[")));
  CHECK_FALSE(parse_nodes_reply(R"({"computer":null})"));
  CHECK_FALSE(parse_nodes_reply("{}"));
}

TEST_CASE("a node is busy as soon as either of its two signs says so") {
  const std::string node =
      R"({"displayName":"n1","offline":false,"temporarilyOffline":false,"idle":true,"numExecutors":1,"executors":[{"idle":false,"currentExecutable":{"number":4,"url":"https://elsewhere/jenkins/job/one/4/"}}]})";
  const auto fact = parse_node_reply(node, "n1");
  REQUIRE(fact);
  CHECK_FALSE(fact->is_idle);
  CHECK(fact->builds == std::vector<std::string>{"job/one/4/"});
  const auto assigned = parse_node_reply(
      replaced(node, R"({"number":4,"url":"https://elsewhere/jenkins/job/one/4/"})", "null"), "n1");
  REQUIRE(assigned);
  CHECK_FALSE(assigned->is_idle);
  CHECK(assigned->builds.empty());
  CHECK_FALSE(parse_node_reply(node, "n2"));
}

}  // namespace replies_test
