#include "bench/fleet.h"

#include <algorithm>

#include "bench/heap.h"
#include "core/check.h"

namespace skep::bench {

using namespace skep::scheduler;

namespace {

constexpr std::int64_t start_of_wall = 1'790'000'000'000;
constexpr int plenty = 1'000'000;
const ControllerId the_controller("main");

std::string two_digits(std::int64_t n) {
  return (n < 10 ? "0" : "") + std::to_string(n);
}

/// Four ways to write down what one of the templates offers, so that texts and classes differ in number.
std::string label_text(std::int64_t id, int templates) {
  const std::string tool = "tool-" + two_digits(id % templates);
  switch (id / templates % 4) {
    case 0:
      return "linux && " + tool;
    case 1:
      return tool + "&&linux";
    case 2:
      return "linux && x86 && " + tool;
    default:
      return tool + " || other-" + two_digits(id % templates);
  }
}

}  // namespace

std::vector<Template> make_templates(int count) {
  std::vector<Template> templates;
  for (int i = 0; i < count; ++i) {
    Template t;
    t.name = TemplateName("template-" + two_digits(i));
    t.labels = {"linux", "x86", "tool-" + two_digits(i)};
    t.labels_text = "linux x86 tool-" + two_digits(i);
    t.driver = "process";
    t.image = "image-" + std::to_string(i % 5);
    t.resources.cpu_millis = 1000 * (1 + i % 4);
    t.resources.memory_bytes = std::int64_t{1 + i % 8} << 30;
    t.remote_fs = "/agent";
    if (i % 10 == 9) t.host_attributes = {{"zone", "b"}};
    t.maximum = plenty;
    templates.push_back(std::move(t));
  }
  return templates;
}

HostReport make_host_report(int number, bool is_full) {
  HostReport report;
  report.host = HostId("host-" + std::to_string(10'000 + number));
  report.index = 1;
  report.boot_id = "boot";
  report.os = "linux";
  report.drivers = {"container", "process", "qemu"};
  report.images = {"image-0", "image-1", "image-2", "image-3", "image-4"};
  report.attributes = {{"zone", number % 3 == 0 ? "b" : "a"}};
  report.capacity.cpu_millis = 32'000 + 1000 * (number % 7);
  report.capacity.memory_bytes = std::int64_t{128} << 30;
  report.capacity.disk_bytes = std::int64_t{1} << 40;
  report.max_executors = is_full ? 0 : 16;
  return report;
}

QueueItem make_item(std::int64_t id) {
  QueueItem item;
  item.id = id;
  item.name = "folder » project-" + std::to_string(id % 400) + " » build";
  item.path = "job/folder/job/project-" + std::to_string(id % 400) + "/";
  item.stage = ItemStage::buildable;
  item.label_source = LabelSource::label_expression;
  item.label = label_text(id, 50);
  item.in_queue_since = WallTime{start_of_wall + id};
  item.buildable_since = item.in_queue_since;
  item.why = "There are no nodes with the label ‘" + *item.label + "’";
  return item;
}

QueueSnapshot make_queue(std::int64_t first_id, int count) {
  QueueSnapshot queue;
  queue.items.reserve(static_cast<std::size_t>(count));
  for (std::int64_t id = first_id + count; id > first_id; --id)
    queue.items.push_back(make_item(id));  // newest first, as Jenkins lists them
  return queue;
}

Rig::Rig(const FleetSize& size, int creations_per_second) : size_(size) {
  SchedulerConfig config;
  config.farm = "bench";
  config.templates = make_templates(size.templates);
  config.max_creations_per_second = config.max_coming_per_host = plenty;
  ControllerConfig controller;
  controller.name = the_controller;
  controller.url = "http://controller/";
  controller.max_open_gates = plenty;
  config.controllers = {controller};
  logic_ = std::make_unique<LogicState>(config, Prng(1));
  now_ += seconds(10);
  handle(LeaderStarted{.epoch = 1, .executors = {}, .drains = {}, .pause_reason = {}, .images = {}});
  ControllerProfile profile;
  profile.version = "2.479.3";
  profile.session = "s";
  handle(ControllerProfiled{the_controller, profile});
  report_hosts(0, size.hosts);
  make_executors();
  read_nodes();
  config.max_creations_per_second =
      creations_per_second == 0 ? SchedulerConfig{}.max_creations_per_second : creations_per_second;
  config.max_coming_per_host = SchedulerConfig{}.max_coming_per_host;
  controller.max_open_gates = ControllerConfig{}.max_open_gates;
  config.controllers = {controller};
  handle(ConfigChanged{config});
  // A full bucket and fresh facts for what comes.
  now_ += seconds(2);
  read_nodes();
}

WallTime Rig::wall() const {
  return WallTime{start_of_wall + to_ms(now_.time_since_epoch())};
}

std::vector<Action> Rig::handle(const Event& event) {
  std::vector<Action> actions = logic_->handle(event, now_, wall());
  if (is_answering_) answer(actions);
  return actions;
}

std::vector<Action> Rig::read_queue(QueueSnapshot queue) {
  return handle(QueueRead{the_controller, "s", now_, std::move(queue)});
}

void Rig::read_nodes() {
  NodesSnapshot snapshot;
  NodeFact built_in;
  built_in.name = "Built-In Node";
  built_in.is_offline = false;
  built_in.is_connected = true;
  built_in.executor_count = 0;
  snapshot.nodes.push_back(built_in);
  for (const auto& [name, fact] : nodes_) snapshot.nodes.push_back(fact);
  handle(NodesRead{the_controller, "s", now_, std::move(snapshot)});
}

void Rig::report_hosts(int first, int count) {
  for (int i = first; i < first + count; ++i) {
    HostReport report = make_host_report(i, size_.are_hosts_full);
    HostReport& known = hosts_[report.host];
    report.executors = known.executors;
    report.index = known.index + 1;
    known = report;
    handle(HostReported{known, now_});
  }
}

void Rig::keep_fresh() {
  read_nodes();
  QueueSnapshot queue;
  for (const auto& [id, entry] : controller().demand.items()) queue.items.push_back(entry.item);
  read_queue(std::move(queue));
  report_hosts(0, size_.hosts);
}

const HostReport& Rig::host(int number) const {
  return hosts_.at(make_host_report(number, false).host);
}

Controller& Rig::controller() {
  return *logic_->controller(the_controller);
}

std::int64_t Rig::own_bytes() const {
  const std::int64_t before = heap_live_bytes();
  const auto nodes = nodes_;
  const auto hosts = hosts_;
  return heap_live_bytes() - before;
}

NodeFact& Rig::node(const ExecutorId& id) {
  return nodes_[id.text];
}

void Rig::answer(const std::vector<Action>& actions) {
  for (const Action& action : actions) {
    if (const auto* create = std::get_if<CreateNode>(&action)) {
      NodeFact& fact = node(create->node);
      fact.name = create->node.text;
      fact.labels = {"linux", "swarm", create->node.text};
      handle(NodeCreated{create->call, create->node, std::string(64, 's')});
    } else if (const auto* close = std::get_if<CloseGate>(&action)) {
      NodeFact& fact = node(close->node);
      fact.is_temporarily_offline = true;
      fact.offline_reason = close->reason;
      handle(GateClosed{close->call, close->node, {}});
    } else if (const auto* open = std::get_if<OpenGate>(&action)) {
      NodeFact& fact = node(open->node);
      fact.is_temporarily_offline = fact.is_offline = false;
      handle(GateOpened{open->call, open->node, Opening{true, false}});
    } else if (const auto* order = std::get_if<OrderExecutor>(&action)) {
      ExecutorReport report;
      report.id = order->order.spec.id;
      report.template_name = order->order.spec.template_name;
      report.state = ExecutorState::joining;
      report.agent = AgentPhase::started;
      report.epoch = order->order.epoch;
      report.resources = order->order.spec.resources;
      hosts_[order->host].executors.push_back(report);
      node(report.id).is_connected = true;
      handle(ExecutorOrdered{order->call, report.id, report});
    }
  }
}

// Through the front door: items are read, executors launched, joined, opened, and given a build.
void Rig::make_executors() {
  const int wanted = size_.idle + size_.busy;
  if (wanted == 0) return read_nodes();
  is_answering_ = true;
  read_nodes();
  read_queue(make_queue(10'000'000, wanted));
  SKEP_ASSERT(static_cast<int>(nodes_.size()) == wanted);
  now_ += milliseconds(100);
  int to_open = size_.busy;
  QueueSnapshot rest;
  for (int i = 0; i < to_open; ++i) rest.items.push_back(make_item(10'000'001 + i));
  read_queue(std::move(rest));
  now_ += milliseconds(100);
  read_nodes();  // all are idle now, and those for whom there is an item are opened
  int number = 0;
  for (auto& [name, fact] : nodes_) {
    if (fact.is_temporarily_offline) continue;
    fact.is_idle = false;
    fact.builds = {"job/project/" + std::to_string(++number) + "/"};
  }
  now_ += milliseconds(100);
  read_nodes();
  is_answering_ = false;
  now_ += milliseconds(100);
  read_queue({});
}

}  // namespace skep::bench
