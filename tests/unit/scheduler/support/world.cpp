#include "tests/unit/scheduler/support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/dump.h"

namespace skep::scheduler::testing {

Template make_template(const std::string& name, const std::string& labels) {
  Template t;
  t.name = TemplateName(name);
  t.labels = parse_label_set(labels);
  t.labels_text = labels;
  t.driver = "fake";
  t.image = "base";
  t.resources.cpu_millis = 1000;
  t.resources.memory_bytes = 1 << 30;
  t.remote_fs = "/agent";
  return t;
}

SchedulerConfig make_config(std::vector<Template> templates) {
  SchedulerConfig config;
  config.farm = "t";
  config.templates = std::move(templates);
  ControllerConfig controller;
  controller.name = ControllerId("main");
  controller.url = "http://controller/";
  config.controllers = {controller};
  return config;
}

World::World(SchedulerConfig given, OneBuildMeans given_means)
    : config(std::move(given)), means(given_means) {
  logic = std::make_unique<SchedulerLogic>(config, Prng(1));
}

void World::later(Duration d, std::function<void()> what) {
  agenda_.emplace(now + d, std::move(what));
}

void World::answer(Duration d, Event event) {
  const int incarnation = incarnation_;
  later(d, [this, incarnation, event = std::move(event)] {
    if (incarnation == incarnation_) send(event);
  });
}

void World::send(const Event& event) {
  if (is_killed_) return;
  const std::vector<Action> actions = logic->handle(event, now, wall());
  for (const Action& action : actions) {
    if (is_killed_ || !before_action(action)) {
      is_killed_ = true;
      return;
    }
    log.push_back(action);
    interpret(action);
  }
}

void World::start(Epoch given) {
  LeaderStarted event;
  event.led_before = records.empty() ? given - 1 : epoch;
  event.epoch = epoch = given;
  for (const auto& [id, record] : records) event.executors.push_back(record);
  for (const auto& [name, image] : images) event.images.push_back(image);
  send(event);
  report_all(incarnation_);
}

// As blocking queries do: an answer at least every 30 s.
void World::report_all(int incarnation) {
  if (incarnation != incarnation_) return;
  for (const auto& [id, host] : hosts) report(id);
  later(seconds(25), [this, incarnation] { report_all(incarnation); });
}

void World::restart_scheduler(Epoch terms) {
  ++incarnation_;
  is_killed_ = false;
  logic = std::make_unique<SchedulerLogic>(config, Prng(1 + epoch));
  start(epoch + terms);
}

void World::run_for(Duration d) {
  const Instant end = now + d;
  Instant last = now;
  int steps_at_once = 0;
  for (;;) {
    steps_at_once = now == last ? steps_at_once + 1 : 0;
    last = now;
    if (steps_at_once > 20'000) FAIL("the logic wakes up again and again at one instant\n" << dump(*this));
    std::optional<Instant> next;
    if (!is_killed_) next = logic->next_deadline();
    if (!agenda_.empty() && (!next || agenda_.begin()->first < *next)) next = agenda_.begin()->first;
    if (!next || *next > end) {
      now = end;
      return;
    }
    now = std::max(now, *next);
    if (!agenda_.empty() && agenda_.begin()->first <= now) {
      const auto what = agenda_.begin()->second;
      agenda_.erase(agenda_.begin());
      what();
    } else {
      send(Tick{});
    }
  }
}

bool World::run_until(const std::function<bool()>& condition, Duration limit) {
  const Instant end = now + limit;
  while (!condition()) {
    if (now >= end) {
      UNSCOPED_INFO(dump(*this));
      return false;
    }
    run_for(std::min<Duration>(milliseconds(5), end - now));
  }
  return true;
}

bool World::has_warm_one() {
  const auto is_there = [this] { return nodes.size() == 1 && nodes.begin()->second.fact.is_connected; };
  if (!run_until(is_there)) return false;
  run_for(seconds(5));
  return true;
}

Explanation World::explain(std::int64_t item) const {
  const auto found = logic->explain(ControllerId("main"), item, now, wall());
  REQUIRE(found.has_value());
  return *found;
}

std::int64_t World::add_job(const std::string& label, Duration length, bool is_block) {
  QueueItem item;
  item.label_source = LabelSource::script;
  item.label = label;
  item.is_pipeline_block = is_block;
  item.stage = ItemStage::buildable;
  item.in_queue_since = wall();
  const std::int64_t id = add_item(item, length);
  return id;
}

std::int64_t World::add_item(QueueItem item, Duration length) {
  item.id = next_item_++;
  const std::string number = std::to_string(item.id);
  if (item.name.empty()) item.name = "job " + number;
  Job job;
  job.build = "job/j" + number + "/1/";
  if (item.path.empty()) item.path = item.is_pipeline_block ? job.build : "job/j" + number + "/";
  job.item = std::move(item);
  job.length = length;
  const std::int64_t id = job.item.id;
  jobs[id] = std::move(job);
  return id;
}

NodeFact& World::add_stranger(const std::string& host, bool is_busy) {
  HostExecutor there;
  there.report.id = ExecutorId("t-linux-1-1abc");
  there.report.template_name = TemplateName("linux");
  there.report.state = ExecutorState::idle;
  there.report.agent = AgentPhase::connected;
  there.report.epoch = 1;
  hosts.at(HostId(host)).executors[there.report.id] = there;
  NodeFact& fact = nodes[there.report.id.text].fact;
  fact.name = there.report.id.text;
  fact.is_connected = true;
  fact.is_idle = !is_busy;
  if (is_busy) fact.builds = {"job/x/1/"};
  return fact;
}

TestHost& World::add_host(const std::string& name, std::int64_t cpu_millis, std::int64_t max_executors) {
  TestHost host;
  host.report.host = HostId(name);
  host.report.boot_id = "b1";
  host.report.os = "linux";
  host.report.drivers = {"fake"};
  host.report.images = {"base"};
  host.report.capacity.cpu_millis = cpu_millis;
  host.report.capacity.memory_bytes = std::int64_t{64} << 30;
  host.report.capacity.disk_bytes = std::int64_t{500} << 30;
  host.report.max_executors = max_executors;
  return hosts[HostId(name)] = host;
}

void World::report(const HostId& id) {
  TestHost& host = hosts.at(id);
  if (!host.is_reachable || epoch == 0) return;
  ++host.report.index;
  host.report.executors.clear();
  for (const auto& [executor, there] : host.executors) host.report.executors.push_back(there.report);
  answer(milliseconds(1), HostReported{host.report});
}

void World::maintain() {
  if (!is_controller_up || is_quieting_down) return;
  for (auto& [name, node] : nodes) {
    const bool is_free =
        node.fact.is_connected && !node.fact.is_temporarily_offline && node.fact.is_idle && node.is_accepting;
    if (!is_free) continue;
    for (auto& [id, job] : jobs) {
      if (job.item.stage != ItemStage::buildable || !job.item.label) continue;
      const bool is_match = is_any_node_text(*job.item.label)
                                ? node.takes_unlabelled
                                : LabelExpression::from_job(*job.item.label).matches(node.labels);
      if (!is_match) continue;
      assign(id, node);
      break;
    }
  }
}

void World::assign(std::int64_t id, Node& node) {
  const Job job = jobs.at(id);
  jobs.erase(id);
  const std::string name = node.fact.name;
  const int generation = node.generation;
  node.fact.is_idle = false;
  if (node.is_hooked) node.is_accepting = false;
  builds.emplace_back(name, job.build);
  running[name] = job.build;
  const auto same = [this, name, generation] {
    return nodes.contains(name) && nodes.at(name).generation == generation;
  };
  later(milliseconds(4), [=, this] {
    if (same()) nodes.at(name).fact.builds = {job.build};
  });
  later(job.length, [=, this] {
    if (!same()) return;
    running.erase(name);
    if (nodes.at(name).is_hooked) return remove_node(name);
    nodes.at(name).fact.builds.clear();
    nodes.at(name).fact.is_idle = true;
    maintain();
  });
}

void World::remove_node(const std::string& name) {
  nodes.erase(name);
  for (auto& [id, host] : hosts) {
    const auto found = host.executors.find(ExecutorId(name));
    if (found == host.executors.end() || found->second.report.agent != AgentPhase::connected) continue;
    found->second.report.agent = AgentPhase::ended;
    found->second.report.agent_exit_code = 0;
    report(id);
  }
}

void World::disconnect(const std::string& name) {
  remove_node(name);
}

void World::restart_controller() {
  ++restarts;
  session = "s" + std::to_string(restarts + 1);
  const std::map<std::string, std::string> interrupted = running;
  running.clear();
  for (const std::string& name : [&] {
         std::vector<std::string> names;
         for (const auto& [n, node] : nodes) names.push_back(n);
         return names;
       }()) {
    remove_node(name);
  }
  for (const auto& [node, build] : interrupted) {
    QueueItem item;
    item.label_source = LabelSource::why;
    item.label = node;
    item.is_pipeline_block = true;
    item.stage = ItemStage::buildable;
    item.in_queue_since = wall();
    item.path = build;
    const std::int64_t id = add_item(item, seconds(2));
    jobs.at(id).build = build;
  }
}

std::map<std::string, int> World::builds_per_node() const {
  std::map<std::string, std::set<std::string>> distinct;
  for (const auto& [node, build] : builds) distinct[node].insert(build);
  std::map<std::string, int> counts;
  for (const auto& [node, set] : distinct) counts[node] = static_cast<int>(set.size());
  return counts;
}

std::size_t World::executors_on_hosts() const {
  std::size_t count = 0;
  for (const auto& [id, host] : hosts) count += host.executors.size();
  return count;
}

bool World::is_clean() const {
  return nodes.empty() && executors_on_hosts() == 0;
}

void World::boot(const HostId& host, const ExecutorId& id, int generation) {
  const auto at = [=, this](Duration d, ExecutorState state, AgentPhase phase) {
    later(d, [=, this] {
      const auto found = hosts.at(host).executors.find(id);
      if (found == hosts.at(host).executors.end() || found->second.generation != generation) return;
      found->second.report.state = state;
      found->second.report.agent = phase;
      report(host);
    });
  };
  const std::string& image = made_from[id];
  const Duration takes = slow_images.contains(image) ? slow_images[image] : boot_time;
  at(takes / 4, ExecutorState::booting, AgentPhase::none);
  if (bad_images.contains(image)) return at(takes / 2, ExecutorState::finished, AgentPhase::ended);
  at(takes / 2, ExecutorState::joining, AgentPhase::started);
  if (agents_connect) later(takes, [=, this] { connect(host, id, generation); });
}

void World::connect(const HostId& host, const ExecutorId& id, int generation) {
  const auto found = hosts.at(host).executors.find(id);
  if (found == hosts.at(host).executors.end() || found->second.generation != generation) return;
  const auto node = nodes.find(id.text);
  if (node == nodes.end()) return;
  found->second.report.agent = AgentPhase::connected;
  found->second.report.state = ExecutorState::idle;
  report(host);
  node->second.fact.is_connected = true;
  node->second.fact.is_offline = node->second.fact.is_temporarily_offline;
  maintain();
}

}  // namespace skep::scheduler::testing
