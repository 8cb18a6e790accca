// Recorded queues and lists of nodes as facts, and how the labels of items are settled over time.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "scheduler/jenkins/replies.h"
#include "tests/contract/jenkins/clients.h"

namespace skep::scheduler::queue_test {
namespace {

using json::Json;
using recordings::Exchange;
using recordings::Recording;

bool has_fields(const Json& object, std::initializer_list<const char*> names) {
  return std::all_of(names.begin(), names.end(), [&](const char* name) { return object.contains(name); });
}

/// From "job/" on, whatever comes before.
std::string path_below_jobs(const Json& url) {
  const std::string text = url.get<std::string>();
  return text.substr(text.find("job/"));
}

ItemStage stage_of(const Json& item) {
  const std::string kind = item.at("_class").get<std::string>();
  if (kind == "hudson.model.Queue$WaitingItem") return ItemStage::waiting;
  if (kind == "hudson.model.Queue$BlockedItem") return ItemStage::blocked;
  REQUIRE(kind == "hudson.model.Queue$BuildableItem");
  return item.at("pending") == true ? ItemStage::pending : ItemStage::buildable;
}

void check_item(const QueueItem& fact, const Json& item) {
  INFO(item.dump());
  const Json& task = item.at("task");
  const std::string kind = task.at("_class").get<std::string>();
  const bool is_block = kind.find("ExecutorStepExecution") != std::string::npos;
  CHECK(fact.id == item.at("id").get<std::int64_t>());
  CHECK(static_cast<int>(fact.stage) == static_cast<int>(stage_of(item)));
  CHECK(fact.is_pipeline_block == is_block);
  CHECK(fact.why == item.at("why").get<std::string>());
  CHECK(fact.in_queue_since.ms_since_epoch == item.at("inQueueSince").get<std::int64_t>());
  CHECK(fact.buildable_since.has_value() == item.contains("buildableStartMilliseconds"));
  CHECK(fact.quiet_until.has_value() == (stage_of(item) == ItemStage::waiting));
  if (fact.quiet_until) CHECK(fact.quiet_until->ms_since_epoch == item.at("timestamp").get<std::int64_t>());
  if (task.contains("fullDisplayName")) CHECK(fact.name == task.at("fullDisplayName").get<std::string>());
  if (task.contains("url")) CHECK(fact.path == path_below_jobs(task.at("url")));
  CHECK(fact.is_stopping == (item.at("why") == "Jenkins is about to shut down"));
  if (!is_block && task.contains("labelExpression")) {
    CHECK(fact.label_source == LabelSource::label_expression);
    const Json& label = task.at("labelExpression");
    CHECK(fact.label == (label.is_null() ? std::string() : label.get<std::string>()));
  } else {
    CHECK(fact.label_source == LabelSource::unresolved);
    CHECK_FALSE(fact.label.has_value());
  }
}

void check_node(const NodeFact& fact, const Json& computer) {
  INFO(computer.dump());
  CHECK(fact.name == computer.at("displayName").get<std::string>());
  CHECK(fact.is_offline == computer.at("offline").get<bool>());
  CHECK(fact.is_temporarily_offline == computer.at("temporarilyOffline").get<bool>());
  CHECK(fact.offline_reason == computer.at("offlineCauseReason").get<std::string>());
  CHECK(fact.executor_count == computer.at("numExecutors").get<int>());
  std::vector<std::string> labels, builds;
  bool is_idle = true;
  for (const Json& label : computer.at("assignedLabels"))
    labels.push_back(label.at("name").get<std::string>());
  for (const Json& executor : computer.at("executors")) {
    is_idle = is_idle && executor.at("idle").get<bool>();
    if (!executor.at("currentExecutable").is_null())
      builds.push_back(path_below_jobs(executor.at("currentExecutable").at("url")));
  }
  CHECK(fact.labels == labels);
  CHECK(fact.builds == builds);
  // A flow on a one-off executor makes the built-in node busy.
  CHECK(fact.is_idle == (is_idle && computer.at("idle").get<bool>()));
}

/// A client that plays recorded answers of one file, by the names of their steps.
std::deque<Result<http::Reply>> played(const Recording& recording, std::initializer_list<const char*> steps) {
  std::deque<Result<http::Reply>> out;
  for (const char* step : steps) out.emplace_back(reply_of(recording.step(step)));
  return out;
}

const QueueItem& item_of(const QueueSnapshot& queue, const std::string& name) {
  const auto found = std::find_if(queue.items.begin(), queue.items.end(),
                                  [&](const QueueItem& item) { return item.name == name; });
  INFO(name);
  REQUIRE(found != queue.items.end());
  return *found;
}

}  // namespace

TEST_CASE("every recorded queue becomes its facts", "[contract]") {
  std::size_t queues = 0, incomplete = 0;
  for (const Recording& recording : recordings::all()) {
    for (const Exchange& exchange : recording.exchanges) {
      const bool is_queue = exchange.answer.json && exchange.target.rfind("/queue/api/json", 0) == 0;
      if (!is_queue) continue;
      INFO(recording.file << " step " << exchange.index << ": " << exchange.step);
      const Json& items = exchange.answer.json->at("items");
      const auto parsed = parse_queue_reply(exchange.answer.json->dump());
      const bool is_complete = std::all_of(items.begin(), items.end(), [](const Json& item) {
        return has_fields(item, {"id", "blocked", "buildable", "inQueueSince", "task"});
      });
      if (!is_complete) {  // asked with another `tree` than ours: refused, not half used
        ++incomplete;
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().outcome == Outcome::unknown);
        continue;
      }
      REQUIRE(parsed);
      REQUIRE(parsed->size() == items.size());
      for (std::size_t i = 0; i < items.size(); ++i) check_item((*parsed)[i], items[i]);
      ++queues;
    }
  }
  CHECK(queues > 60);
  CHECK(incomplete == 1);
}

TEST_CASE("every recorded list of nodes becomes its facts", "[contract]") {
  std::size_t lists = 0;
  for (const Recording& recording : recordings::all()) {
    for (const Exchange& exchange : recording.exchanges) {
      if (!exchange.answer.json || exchange.target.rfind("/computer/api/json", 0) != 0) continue;
      const Json& computers = exchange.answer.json->at("computer");
      INFO(recording.file << " step " << exchange.index << ": " << exchange.step);
      const auto parsed = parse_nodes_reply(exchange.answer.json->dump());
      if (!has_fields(computers.at(0),
                      {"displayName", "offline", "temporarilyOffline", "idle", "executors"})) {
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().outcome == Outcome::unknown);
        continue;
      }
      REQUIRE(parsed);
      REQUIRE(parsed->snapshot.nodes.size() == computers.size());
      CHECK(parsed->has_agents == (computers.size() > 1));
      if (!has_fields(computers.at(0), {"numExecutors", "offlineCauseReason", "assignedLabels"})) continue;
      ++lists;
      // Without a tree the executors are empty objects: nothing is known of their builds.
      if (exchange.target.find("tree=") == std::string::npos) continue;
      for (std::size_t i = 0; i < computers.size(); ++i) check_node(parsed->snapshot.nodes[i], computers[i]);
    }
  }
  CHECK(lists == 23);
}

TEST_CASE("freestyle items: the job's own label, with agents and without", "[contract]") {
  for (const char* core : {"jenkins-2.479.3", "jenkins-2.528.3"}) {
    const Recording& recording = recordings::of(std::string(core) + "/03-why-texts.json");
    Adapter<ScriptedClient> adapter(
        played(recording, {"queue with no agents", "nodes, none connected", "two matching nodes, offline"}));
    const auto alone = adapter.controller.read_queue();
    REQUIRE(alone);
    REQUIRE(adapter.controller.read_nodes());
    const auto later = adapter.controller.read_queue();
    REQUIRE(later);
    CHECK(adapter.client.is_used_up());
    const std::map<std::string, std::string> labels{{"linux", "linux"},
                                                    {"and", "linux && x86"},
                                                    {"parentheses", "linux && (x86||arm)"},
                                                    {"not", "!windows"},
                                                    {"implies", "a -> b"},
                                                    {"iff", "a<->b"},
                                                    {"quoted-and", "\"a b\" && linux"},
                                                    {"quoted", "\"a b\""},
                                                    {"unparsable", "\"linux && && x\""},
                                                    {"any", ""},
                                                    {"apostrophe", "it’s"},
                                                    {"double-not", "\"!!a\""},
                                                    {"or", "windows||linux"},
                                                    {"quiet", "linux"}};
    for (const QueueSnapshot* queue : {&*alone, &*later}) {
      CHECK(queue->items.size() == labels.size());
      CHECK_FALSE(queue->is_quieting_down);
      for (const auto& [name, label] : labels) {
        CHECK(item_of(*queue, name).label == label);
        CHECK(item_of(*queue, name).label_source == LabelSource::label_expression);
      }
    }
  }
}

TEST_CASE("a quiet-down is seen in the queue", "[contract]") {
  for (const char* core : {"jenkins-2.479.3", "jenkins-2.528.3"}) {
    const Recording& recording = recordings::of(std::string(core) + "/05-item-life.json");
    Adapter<ScriptedClient> adapter(
        played(recording, {"waiting item", "queue in quiet-down", "queue afterwards"}));
    const auto before = adapter.controller.read_queue(), during = adapter.controller.read_queue(),
               after = adapter.controller.read_queue();
    REQUIRE((before && during && after));
    CHECK_FALSE(before->is_quieting_down);
    CHECK(during->is_quieting_down);
    CHECK(item_of(*during, "linux").is_stopping);
    CHECK_FALSE(after->is_quieting_down);
    CHECK_FALSE(item_of(*after, "linux").is_stopping);
    CHECK(item_of(*before, "quiet").stage == ItemStage::waiting);
    CHECK(item_of(*before, "serial").stage == ItemStage::blocked);
  }
}

TEST_CASE("node blocks: nothing without agents, then the label, which is kept when the text names a node",
          "[contract]") {
  const Recording& recording = recordings::of("pipeline-on-2.479.3/20-pipeline-node-blocks.json");
  std::deque<Result<http::Reply>> script =
      played(recording, {"no agent of any kind", "computers", "with the sentinel", "one node, offline",
                         "one node, busy", "later"});
  Adapter<ScriptedClient> adapter(std::move(script));
  JenkinsController& controller = adapter.controller;

  const auto alone = controller.read_queue();
  REQUIRE(alone);
  CHECK(item_of(*alone, "part of p-linux #1").label_source == LabelSource::unresolved);
  CHECK_FALSE(item_of(*alone, "part of p-linux #1").label.has_value());

  REQUIRE(controller.read_nodes());  // n1 and the sentinel
  const auto named = controller.read_queue();
  REQUIRE(named);
  CHECK(item_of(*named, "part of p-linux #1").label == "linux");
  CHECK(item_of(*named, "part of p-par #1").label == "linux");
  CHECK(item_of(*named, "part of p-expr #1").label == "gpu||(linux&&!docker)");
  CHECK(item_of(*named, "part of p-any #1").label == "");
  for (const QueueItem& item : named->items) CHECK(item.label_source == LabelSource::why);

  // From here on the texts say "n1", which matches all of them.
  for (int step = 0; step < 2; ++step) {
    const auto busy = controller.read_queue();
    REQUIRE(busy);
    CHECK(item_of(*busy, "part of p-par #1").label == "linux");
    CHECK(item_of(*busy, "part of p-expr #1").label == "gpu||(linux&&!docker)");
    CHECK(item_of(*busy, "part of p-any #1").label == "");
  }
  const auto later = controller.read_queue();
  REQUIRE(later);
  REQUIRE(later->items.size() == 1);
  CHECK(later->items[0].label == "");  // reserved nodes: only an item without label is told so
}

TEST_CASE("node blocks: who comes late learns the node that matches, never takes it for a label",
          "[contract]") {
  const Recording& recording = recordings::of("pipeline-on-2.479.3/20-pipeline-node-blocks.json");
  for (const char* step : {"one node, offline", "one node, busy"}) {
    Adapter<ScriptedClient> adapter(played(recording, {"computers", step}));
    REQUIRE(adapter.controller.read_nodes());
    const auto queue = adapter.controller.read_queue();
    REQUIRE(queue);
    const QueueItem& item = item_of(*queue, "part of p-expr #1");
    CHECK(item.label_source == LabelSource::unresolved);
    CHECK(item.matching_node == "n1");
    CHECK(item_of(*queue, "part of p-any #1").label == "");
  }
}

TEST_CASE("a block that waits for its node after a restart, and a block in a folder", "[contract]") {
  {
    const Recording& recording = recordings::of("pipeline-on-2.479.3/21-pipeline-over-a-restart.json");
    // Recorded with a shorter tree: what ours asks besides is added.
    Json queue = *recording.step("queue: the block waits for its node").answer.json;
    for (Json& item : queue.at("items"))
      item.update({{"blocked", false}, {"pending", false}, {"inQueueSince", 1795404113879}});
    Adapter<ScriptedClient> adapter(
        std::deque<Result<http::Reply>>{reply_of(recording.step("computers")), json_reply(queue.dump())});
    REQUIRE(adapter.controller.read_nodes());
    const auto read = adapter.controller.read_queue();
    REQUIRE(read);
    CHECK(item_of(*read, "part of p #1").label == "s1");
    CHECK(item_of(*read, "part of p #1").path == "job/p/1/");
  }
  const Recording& recording = recordings::of("pipeline-on-2.479.3/22-folders.json");
  Adapter<ScriptedClient> adapter(played(recording, {"queue"}));
  const auto read = adapter.controller.read_queue();
  REQUIRE(read);
  CHECK(item_of(*read, "part of Team A » p #1").path == "job/Team%20A/job/p/1/");
  CHECK(item_of(*read, "part of Team A » p #1").label == "linux");
  CHECK(item_of(*read, "Team A » build it").path == "job/Team%20A/job/build%20it/");
}

TEST_CASE("a restart is seen by its session, and what was known about items is forgotten with it",
          "[contract]") {
  const Recording& recording = recordings::of("jenkins-2.479.3/13-controller-restart.json");
  Adapter<ScriptedClient> adapter(played(recording, {"queue before", "computers before"}));
  REQUIRE(adapter.controller.read_queue());
  CHECK(adapter.controller.session() == "6ebebd45");
  const auto nodes = adapter.controller.read_nodes();
  REQUIRE(nodes);
  CHECK(nodes->nodes.size() == 4);

  const Exchange* starting = nullptr;
  for (const Exchange& exchange : recording.exchanges) {
    if (exchange.answer.status == 503) starting = &exchange;
  }
  REQUIRE(starting != nullptr);
  Adapter<ScriptedClient> later(std::deque<Result<http::Reply>>{
      reply_of(recording.step("queue before")),
      Error::try_again(ErrorCode::unavailable, "connection refused"),
      reply_of(*starting),
      reply_of(*starting),
      reply_of(recording.step("queue after: same ids")),
      reply_of(recording.step("computers after: swarm nodes are gone")),
  });
  REQUIRE(later.controller.read_queue());
  // Refused, then starting: nothing is known, and the session is not taken for another.
  for (int i = 0; i < 2; ++i) {
    const auto lost = later.controller.read_queue();
    REQUIRE_FALSE(lost);
    CHECK(lost.error().outcome == Outcome::unknown);
    CHECK(lost.error().code == ErrorCode::unavailable);
  }
  const auto no_nodes = later.controller.read_nodes();
  REQUIRE_FALSE(no_nodes);
  CHECK(no_nodes.error().outcome == Outcome::unknown);
  CHECK(later.controller.session() == "6ebebd45");
  REQUIRE(later.controller.read_queue());
  CHECK(later.controller.session() == "c00de5b5");
  const auto after = later.controller.read_nodes();
  REQUIRE(after);
  CHECK(after->nodes.size() == 2);
}

namespace {

/// One block that waits, as a controller of this session says it.
http::Reply queue_of_session(const std::string& session, const std::string& why) {
  http::Reply reply = json_reply(
      R"({"items":[{"_class":"hudson.model.Queue$BuildableItem","blocked":false,"buildable":true,"id":7,"inQueueSince":1,)"
      R"("task":{"_class":"x$PlaceholderTask","fullDisplayName":"part of p #1","url":"job/p/1/"},"why":")" +
      why + "\",\"pending\":false}]}");
  for (auto& [name, value] : reply.headers) {
    if (name == "X-Jenkins-Session") value = session;
  }
  return reply;
}

http::Reply nodes_of_session(const std::string& session) {
  http::Reply reply = json_reply(
      R"({"computer":[{"_class":"hudson.model.Hudson$MasterComputer","displayName":"Built-In Node","idle":true,"numExecutors":2,)"
      R"("offline":false,"temporarilyOffline":false,"offlineCauseReason":"","executors":[],"assignedLabels":[{"name":"built-in"}]},)"
      R"({"_class":"hudson.slaves.SlaveComputer","displayName":"agent","idle":true,"numExecutors":1,)"
      R"("offline":true,"temporarilyOffline":false,"offlineCauseReason":"","executors":[],"assignedLabels":[{"name":"agent"}]}]})");
  for (auto& [name, value] : reply.headers) {
    if (name == "X-Jenkins-Session") value = session;
  }
  return reply;
}

}  // namespace

TEST_CASE("known labels do not outlive the session: after a crash ids are used again", "[contract]") {
  Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{
      queue_of_session("a", "There are no nodes with the label ‘old’"),
      queue_of_session("a", "‘n1’ is offline"), queue_of_session("b", "‘n1’ is offline")});
  CHECK(adapter.controller.read_queue()->items[0].label == "old");
  CHECK(adapter.controller.read_queue()->items[0].label == "old");
  const auto after = adapter.controller.read_queue();
  CHECK_FALSE(after->items[0].label.has_value());
  CHECK(after->items[0].label_source == LabelSource::unresolved);
}

TEST_CASE("agents do not outlive the session: what they made certain is asked again", "[contract]") {
  // Without an agent this text is said of every item, whatever its label.
  const std::string any = "Waiting for next available executor";
  Adapter<ScriptedClient> adapter(std::deque<Result<http::Reply>>{
      nodes_of_session("a"), queue_of_session("a", any), queue_of_session("b", any), nodes_of_session("b"),
      queue_of_session("b", any)});
  REQUIRE(adapter.controller.read_nodes());
  CHECK(adapter.controller.read_queue()->items[0].label == "");
  CHECK(adapter.controller.read_queue()->items[0].label_source == LabelSource::unresolved);
  REQUIRE(adapter.controller.read_nodes());
  CHECK(adapter.controller.read_queue()->items[0].label == "");
}

}  // namespace skep::scheduler::queue_test
