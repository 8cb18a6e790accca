#include "tests/sim/checkers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/resources.h"

namespace skep::sim {
namespace {

using simulation::Host;
using simulation::World;

// A read is sent, answered and handled within these; older facts freeze decisions (facts_stale_after).
constexpr Duration fact_life = seconds(15) + seconds(11);
constexpr std::size_t secret_chars = 64;
constexpr std::size_t most_plans_a_minute = 250, most_creations_a_minute = 250;
constexpr Epoch highest_epoch = std::numeric_limits<Epoch>::max();

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

}  // namespace

std::vector<std::string> probe_names() {
  std::vector<std::string> names{"agentd killed between two actions",
                                 "a scheduler leads",
                                 "a host is unseen",
                                 "a node is made again after a restart",
                                 "an executor is destroyed by order",
                                 "an executor gets a second ticket",
                                 "an executor failed",
                                 "an executor ended unused",
                                 "an order of an older leader arrives",
                                 "agentd starts with executors",
                                 "an intent cannot be recorded",
                                 "a build fails or is aborted",
                                 "a block goes on after a restart",
                                 "a second build on an executor",
                                 "an audit tells of a second build",
                                 "an audit cannot rule out a second build",
                                 "a leader hears of a newer one"};
  for (std::size_t i = 0; i < fault_kind_count; ++i)
    names.push_back("fault " + std::string(to_string(static_cast<FaultKind>(i))));
  return names;
}

void Checkers::report(const World& world, std::string promise, std::string detail) {
  if (!violation) violation = Violation{std::move(promise), std::move(detail), world.now};
}

void Checkers::on_note(const World& world, const std::string& text) {
  if (text.ends_with("goes on")) resumed_ = world.now;
  if (text.starts_with("fault: ")) {
    ++probes["fault " + text.substr(7, text.find(' ', 7) - 7)];
  } else if (text.find("is killed") != std::string::npos) {
    probe("agentd killed between two actions");
  } else if (text.starts_with("scheduler ") && text.ends_with(" ends")) {
    probe("a scheduler ends");
  } else if (text.find("leads with epoch") != std::string::npos) {
    probe("a scheduler leads");
    highest_leader_ = std::max<Epoch>(highest_leader_, std::stoull(text.substr(text.rfind(' ') + 1)));
  }
}

const scheduler::Template* Checkers::template_of(const TemplateName& name) const {
  for (const scheduler::Template& each : weather_.plan.scheduler.templates) {
    if (each.name == name) return &each;
  }
  return nullptr;
}

// --- what schedulers do

void Checkers::on_scheduler_event(const World& world, int scheduler, const scheduler::Event& event) {
  note_gates(scheduler, event);
  if (const auto* read = std::get_if<scheduler::QueueRead>(&event)) {
    if (read->queue) queue_read_ = world.now;
    const bool is_quieting = read->queue && read->queue->is_quieting_down;
    if (read->queue && !is_quieting) quiet_since_.reset();
    if (is_quieting && !quiet_since_) quiet_since_ = world.now;
  } else if (const auto* nodes = std::get_if<scheduler::NodesRead>(&event)) {
    if (nodes->nodes) nodes_read_ = world.now;
  } else if (const auto* told = std::get_if<scheduler::HostReported>(&event)) {
    is_host_seen_[{scheduler, told->report.host}] = true;
    note_newer_leader(world, scheduler, told->report.epoch_seen);
  } else if (const auto* ordered = std::get_if<scheduler::ExecutorOrdered>(&event)) {
    if (!ordered->result && ordered->result.error().code == ErrorCode::stale_epoch)
      note_newer_leader(world, scheduler, highest_epoch);
  } else if (const auto* renewed = std::get_if<scheduler::LeasesRenewed>(&event)) {
    if (renewed->result) note_newer_leader(world, scheduler, renewed->result->epoch_seen);
  } else if (const auto* unseen = std::get_if<scheduler::HostUnseen>(&event)) {
    is_host_seen_[{scheduler, unseen->host}] = false;
    probe("a host is unseen");
  } else if (const auto* departed = std::get_if<scheduler::HostDeparted>(&event)) {
    probe("a host departs");
    for (const auto& [id, seen] : seen_) {
      const Host* host = world.host_by_id.at(departed->host);
      const bool is_there = seen.host == departed->host && host->model.look_at(id, world.now).has_value();
      const auto& records = world.schedulers[static_cast<std::size_t>(scheduler)]->records;
      if (is_there && records.find(id.text) != nullptr)
        report(world, "a host departs only with nothing of ours on it",
               departed->host.text + " still has " + id.text);
    }
  } else if (std::holds_alternative<scheduler::LeaderStarted>(event)) {
    for (auto& [key, is_seen] : is_host_seen_) {
      if (key.first == scheduler) is_seen = false;
    }
  }
}

/// Which gates a scheduler may have open, by what it asked for and was told; never more than are.
void Checkers::note_gates(int scheduler, const scheduler::Event& event) {
  std::set<ExecutorId>& open = open_gates_[scheduler];
  if (std::holds_alternative<scheduler::LeaderStarted>(event)) open.clear();
  if (const auto* opened = std::get_if<scheduler::GateOpened>(&event); opened != nullptr && !opened->result)
    open.erase(opened->node);
  if (const auto* polled = std::get_if<scheduler::NodePolled>(&event)) {
    const bool is_over = !polled->fact || !*polled->fact || !(*polled->fact)->builds.empty() ||
                         !(*polled->fact)->is_idle || (*polled->fact)->is_temporarily_offline;
    if (is_over) open.erase(polled->node);
  }
  if (const auto* nodes = std::get_if<scheduler::NodesRead>(&event); nodes != nullptr && nodes->nodes) {
    for (const scheduler::NodeFact& node : nodes->nodes->nodes) {
      if (!node.is_idle || node.is_temporarily_offline) open.erase(ExecutorId(node.name));
    }
  }
}

void Checkers::note_newer_leader(const World& world, int scheduler, Epoch seen) {
  const Epoch own = world.schedulers[static_cast<std::size_t>(scheduler)]->epoch;
  if (seen > own && fenced_.insert({scheduler, own}).second) probe("a leader hears of a newer one");
}

void Checkers::on_scheduler_action(const World& world, int scheduler, const scheduler::Action& action) {
  if (const auto* close = std::get_if<scheduler::CloseGate>(&action))
    open_gates_[scheduler].erase(close->node);
  if (const auto* remove = std::get_if<scheduler::DeleteNode>(&action))
    open_gates_[scheduler].erase(ExecutorId(remove->node));
  check_intent(world, scheduler, action);
  if (const auto* record = std::get_if<scheduler::RecordExecutor>(&action)) {
    check_plan(world, scheduler, record->record);
    if (record->record.state == ExecutorState::gone) gone_.push_back(record->record);
  } else if (const auto* order = std::get_if<scheduler::OrderExecutor>(&action)) {
    check_order(world, *order);
  } else if (const auto* create = std::get_if<scheduler::CreateNode>(&action)) {
    if (create->is_recreation) {
      probe("a node is made again after a restart");
      seen_[create->node].called_back = world.now;
    }
    creations_.push_back(world.now);
    while (creations_.front() + seconds(60) < world.now) creations_.pop_front();
    check_creation(world, scheduler, *create);
  } else if (const auto* audit = std::get_if<scheduler::Audit>(&action)) {
    check_audit(world, *audit);
    check_text(world, audit->end);
  } else if (const auto* line = std::get_if<scheduler::Explain>(&action)) {
    check_text(world, line->message);
    for (const auto& [key, value] : line->fields) check_text(world, value);
  } else if (const auto* destroy = std::get_if<scheduler::DestroyExecutor>(&action)) {
    if (destroyed_by_[scheduler].insert(destroy->executor).second) probe("an executor is destroyed by order");
  }
}

/// Nothing is done before it is on record, and nothing at all once a host has told of a newer leader.
void Checkers::check_intent(const World& world, int scheduler, const scheduler::Action& action) {
  const auto& process = *world.schedulers[static_cast<std::size_t>(scheduler)];
  const auto record_of = [&](const ExecutorId& id) { return process.records.find(id.text); };
  std::string what;
  if (const auto* create = std::get_if<scheduler::CreateNode>(&action)) {
    what = "creates node " + create->node.text;
    const bool is_sentinel = create->node.text == weather_.plan.scheduler.controllers.front().sentinel_node;
    if (!is_sentinel && record_of(create->node) == nullptr)
      report(world, "a record comes before the act", "scheduler " + what + " without one");
  } else if (const auto* open = std::get_if<scheduler::OpenGate>(&action)) {
    what = "opens the gate of " + open->node.text;
    open_gates_[scheduler].insert(open->node);
    const int limit = weather_.plan.scheduler.controllers.front().max_open_gates;
    if (static_cast<int>(open_gates_[scheduler].size()) > limit)
      report(world, "few gates are open at once",
             std::to_string(open_gates_[scheduler].size()) + " of at most " + std::to_string(limit));
    const scheduler::ExecutorRecord* record = record_of(open->node);
    if (record == nullptr || !record->was_opened)
      report(world, "a record comes before the act", "scheduler " + what + " without one");
    if (record != nullptr && record->was_used)
      report(world, "one build per executor", "the gate of a used executor is opened: " + open->node.text);
    const auto offline = orders.offline_by_hand.find(open->node.text);
    if (offline != orders.offline_by_hand.end() && world.now - offline->second > fact_life && nodes_read_ &&
        *nodes_read_ - offline->second > seconds(11) && !world.controller_weather.lists_are_stale)
      report(world, "what somebody set offline is left alone", "scheduler " + what);
  } else if (const auto* order = std::get_if<scheduler::OrderExecutor>(&action)) {
    what = "orders " + order->order.spec.id.text;
  }
  if (!what.empty() && fenced_.contains({scheduler, process.epoch}))
    report(world, "a leader that was replaced does nothing", "scheduler " + what);
}

void Checkers::check_creation(const World& world, int scheduler, const scheduler::CreateNode& create) {
  if (create.node.text == weather_.plan.scheduler.controllers.front().sentinel_node) return;
  Seen& seen = seen_[create.node];
  if (seen.was_created && !create.is_recreation && seen.created_by != std::pair(scheduler, world.now))
    report(world, "names are never used twice", "node " + create.node.text + " is created again");
  seen.was_created = true;
  seen.created_by = {scheduler, world.now};
  const int rate = weather_.plan.scheduler.max_creations_per_second;
  const auto in_a_second = std::count_if(creations_.begin(), creations_.end(),
                                         [&](Instant each) { return each + seconds(1) > world.now; });
  // A bucket holds one second's worth; each leader begins with a full one, and resumed ones do not count.
  if (in_a_second > 2 * rate + 2 && world.schedulers.size() == 1 &&
      probes.count("a node is made again after a restart") == 0 && probes.count("fault scheduler_crash") == 0)
    report(world, "no storm", std::to_string(in_a_second) + " nodes created within a second");
  if (creations_.size() > most_creations_a_minute)
    report(world, "no storm", std::to_string(creations_.size()) + " nodes created within a minute");
}

/// What is recorded gone is gone, on both sides, and its audit is written.
void Checkers::check_gone(const World& world) {
  for (const scheduler::ExecutorRecord& record : std::exchange(gone_, {})) {
    const auto host = world.host_by_id.find(record.host);
    const bool runs = host != world.host_by_id.end() &&
                      host->second->model.look_at(record.id, world.now).has_value() &&
                      !orders.lost_states.contains(record.host.text);
    if (runs)
      report(world, "gone is seen gone", record.id.text + " is recorded gone, and its sandbox is there");
    const auto nodes = world.controller.node_names();
    if (std::find(nodes.begin(), nodes.end(), record.id.text) != nodes.end())
      report(world, "gone is seen gone", record.id.text + " is recorded gone, and its node is there");
    if (!seen_[record.id].is_audited)
      report(world, "each executor leaves an audit record", record.id.text + " is recorded gone without one");
  }
}

/// A launch: allowed by what operators said, and by what is known.
void Checkers::check_plan(const World& world, int scheduler, const scheduler::ExecutorRecord& record) {
  Seen& seen = seen_[record.id];
  seen.host = record.host;
  seen.template_name = record.template_name;
  if (seen.was_planned || record.state != ExecutorState::planned) return;
  seen.was_planned = true;
  seen.planned = world.now;
  ++launches;
  const auto& process = *world.schedulers[static_cast<std::size_t>(scheduler)];
  const std::string what = record.id.text + " on " + record.host.text;
  if (process.drains.find(record.host.text) != nullptr)
    report(world, "a drained host gets no executor", what);
  if (process.meta.find("pause") != nullptr) report(world, "a paused farm launches nothing", what);
  const auto is_old = [&](const std::optional<Instant>& read) {
    return !read || world.now - *read > fact_life;
  };
  const bool decided_before_a_stop = resumed_ && world.now - *resumed_ < seconds(30);
  if (is_old(queue_read_) && is_old(nodes_read_) && !decided_before_a_stop)
    report(world, "unknown is never empty",
           what + " was planned although nothing is known of the controller");
  const auto host_seen = is_host_seen_.find({scheduler, record.host});
  if (host_seen == is_host_seen_.end() || !host_seen->second)
    report(world, "unknown is never empty", what + " was planned although the host cannot be seen");
  const scheduler::Template* made_of = template_of(record.template_name);
  if (quiet_since_ && world.now - *quiet_since_ > seconds(5) && made_of != nullptr &&
      made_of->minimum_idle == 0 && world.schedulers.size() == 1 && !probes.contains("fault config_reload"))
    report(world, "a controller that quiets down gets no executors", what);
  plans_.push_back(world.now);
  while (plans_.front() + seconds(60) < world.now) plans_.pop_front();
  if (plans_.size() > most_plans_a_minute)
    report(world, "no storm", std::to_string(plans_.size()) + " launches in a minute");
}

void Checkers::check_order(const World& world, const scheduler::OrderExecutor& order) {
  secrets_.insert(order.order.ticket.secret);
  const auto host = world.host_by_id.find(order.host);
  const scheduler::Template* made_of = template_of(order.order.spec.template_name);
  if (host == world.host_by_id.end() || made_of == nullptr)
    return report(world, "orders name what there is",
                  order.order.spec.id.text + " of an unknown template or host");
  for (const auto& [key, value] : made_of->host_attributes) {
    const auto has = host->second->plan.attributes.find(key);
    if (has == host->second->plan.attributes.end() || has->second != value)
      report(
          world, "placement keeps to the template's rules",
          order.order.spec.id.text + " wants " + key + "=" + value + ", " + order.host.text + " has it not");
  }
  if (order.order.ticket.attempt > 1) probe("an executor gets a second ticket");
}

void Checkers::check_audit(const World& world, const scheduler::Audit& audit) {
  Seen& seen = seen_[audit.record.id];
  seen.is_audited = true;
  seen.is_audited_as_doubtful = seen.is_audited_as_doubtful || audit.is_violation || audit.may_hide_build;
  if (audit.record.builds_seen.size() > 1 && !audit.is_violation)
    report(world, "a second build is always reported",
           audit.record.id.text + " has two builds on record, and its audit none");
  if (audit.is_violation) probe("an audit tells of a second build");
  if (audit.may_hide_build) probe("an audit cannot rule out a second build");
  if (audit.end.starts_with("failed")) probe("an executor failed");
  if (audit.end == "unused") probe("an executor ended unused");
}

void Checkers::check_text(const World& world, const std::string& text) {
  std::size_t run = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    run = is_hex(text[i]) ? run + 1 : 0;
    if (run >= secret_chars / 2 && i + 1 >= secret_chars &&
        secrets_.contains(text.substr(i + 1 - secret_chars, secret_chars)))
      return report(world, "no secret in a log line", text);
  }
}

// --- what agentd does

void Checkers::on_agentd_event(const World& world, const HostId& id, const agentd::Event& event) {
  const Epoch known = world.host_by_id.at(id)->highest_epoch;
  const auto note_stale = [&](agentd::RequestId request, Epoch epoch) {
    if (epoch >= known) return;
    stale_requests_.insert(request);
    ++stale_orders;
    probe("an order of an older leader arrives");
  };
  stale_requests_.clear();
  note_lease(world, event, known);
  if (const auto* order = std::get_if<agentd::OrderArrived>(&event))
    note_stale(order->request, order->order.epoch);
  if (const auto* destroy = std::get_if<agentd::DestroyArrived>(&event))
    note_stale(destroy->request, destroy->epoch);
  if (const auto* leases = std::get_if<agentd::LeasesArrived>(&event))
    note_stale(leases->request, leases->renewal.epoch);
  if (const auto* started = std::get_if<agentd::Started>(&event);
      started != nullptr && !started->intents.empty())
    probe("agentd starts with executors");
  if (std::holds_alternative<agentd::IntentNotRecorded>(event)) probe("an intent cannot be recorded");
}

void Checkers::note_lease(const World& world, const agentd::Event& event, Epoch known) {
  if (const auto* order = std::get_if<agentd::OrderArrived>(&event))
    leases_[order->order.spec.id] = world.now;
  const auto* leases = std::get_if<agentd::LeasesArrived>(&event);
  if (leases == nullptr || leases->renewal.epoch < known) return;
  for (const auto& entry : leases->renewal.executors) leases_[entry.id] = world.now;
}

void Checkers::on_agentd_action(const World& world, const HostId& id, const agentd::Action& action) {
  if (const auto* reply = std::get_if<agentd::Reply>(&action)) {
    const bool is_refusal = std::holds_alternative<Error>(reply->body);
    if (stale_requests_.contains(reply->request) && !is_refusal)
      report(world, "orders of an older leader are refused", "agentd on " + id.text + " took one");
  } else if (!stale_requests_.empty() && std::holds_alternative<agentd::RecordIntent>(action)) {
    report(world, "orders of an older leader are refused", "agentd on " + id.text + " acted on one");
  } else if (const auto* epoch = std::get_if<agentd::RecordEpoch>(&action)) {
    if (epoch->epoch < epochs_[id]) report(world, "epochs never decrease", "agentd on " + id.text);
    epochs_[id] = epoch->epoch;
  } else if (const auto* line = std::get_if<agentd::Explain>(&action)) {
    check_text(world, line->message);
    for (const auto& [key, value] : line->fields) check_text(world, value);
  }
}

void Checkers::before_driver_call(const World& world, const HostId& id, const agentd::CallDriver& call) {
  Host& host = *world.host_by_id.at(id);
  if (const auto* start = std::get_if<agentd::Start>(&call.verb))
    return check_start(world, host, call, *start);
  if (std::holds_alternative<agentd::Stop>(call.verb)) check_kill(world, host, call.id, "stopped");
  if (std::holds_alternative<agentd::Destroy>(call.verb)) {
    check_kill(world, host, call.id, "destroyed");
    check_hold(world, host, call.id);
    if (call.id.text.starts_with("foreign-"))
      report(world, "what is not ours is left alone", call.id.text + " is destroyed");
  }
}

void Checkers::check_start(const World& world, Host& host, const agentd::CallDriver& call,
                           const agentd::Start& start) {
  touched_hosts_.insert(host.id());
  const agentd::IntentRecord* intent = host.intents.find(call.id.text);
  if (intent == nullptr) report(world, "an intent is recorded before the driver is touched", call.id.text);
  if (start.epoch < host.highest_epoch)
    report(world, "orders of an older leader are refused", call.id.text + " is started for an old epoch");
  for (const auto& other : world.hosts) {
    if (other.get() != &host && other->model.look_at(call.id, world.now))
      report(world, "an executor lives once",
             call.id.text + " is on " + other->id().text + " and " + host.id().text);
  }
  if (host.model.times_made(call.id) > 0 && !host.model.look_at(call.id, world.now) && intent != nullptr)
    report(world, "names are never used twice", call.id.text + " is made again on " + host.id().text);
}

bool Checkers::may_be_killed(const World& world, const ExecutorId& id, const Seen& seen) const {
  if (orders.killed.contains(id)) return true;
  const auto lost = orders.lost_states.find(seen.host.text);
  if (lost != orders.lost_states.end() && seen.planned <= lost->second) return true;
  // Somebody else ended it or its node: whatever follows is no decision of ours.
  if (orders.nodes_touched_by_hand.contains(id.text)) return true;
  const scheduler::Template* made_of = template_of(seen.template_name);
  if (made_of != nullptr && made_of->build_limit > Duration::zero() &&
      world.now - seen.build_started >= made_of->build_limit)
    return true;
  // One that was called back has as long as a new one has to boot and to join.
  if (made_of != nullptr && seen.called_back &&
      world.now - *seen.called_back >= made_of->boot_deadline + made_of->join_deadline)
    return true;
  // agentd's own last resort: busy, but no leader for a day after its lease.
  return world.now - seen.build_started > hours(24);
}

/// Nobody but an operator ends a build of ours.
void Checkers::check_hold(const World& world, const Host& host, const ExecutorId& id) {
  const auto held = orders.holds.find(id);
  if (held == orders.holds.end() || world.now >= held->second || orders.retired.contains(id)) return;
  const bool runs = host.model.look_at(id, world.now) &&
                    host.model.look_at(id, world.now)->state == drivers::InstanceState::running;
  if (!runs || orders.nodes_touched_by_hand.contains(id.text) || orders.lost_states.contains(host.id().text))
    return;
  report(world, "a held executor is kept", id.text + " goes before its time");
}

void Checkers::check_kill(const World& world, const Host& host, const ExecutorId& id, const char* how) {
  const auto found = seen_.find(id);
  if (found == seen_.end() || !found->second.running) return;
  const Seen& seen = found->second;
  const auto sandbox = host.model.look_at(id, world.now);
  const bool is_there = sandbox && sandbox->state == drivers::InstanceState::running;
  const bool is_connected = world.controller.agent_online(id.text);
  if (!is_there || (!is_connected && !seen.is_pipeline) || may_be_killed(world, id, seen)) return;
  report(world, "no busy executor is ever killed",
         id.text + " is " + how + " while build " + std::to_string(*seen.running) + " runs on it");
}

void Checkers::before_delete_node(const World& world, int scheduler, const std::string& node) {
  if (foreign_nodes.contains(node))
    report(world, "what is not ours is left alone", "node " + node + " is deleted");
  const auto found = seen_.find(ExecutorId(node));
  if (found == seen_.end()) return;
  // A controller knows no epochs: what a leader that was suspended still sends to it cannot be refused.
  if (world.schedulers[static_cast<std::size_t>(scheduler)]->epoch < highest_leader_)
    return probe("an older leader deletes a node");
  const auto host = world.host_by_id.find(found->second.host);
  if (host == world.host_by_id.end()) return;
  if (world.controller.agent_online(node))
    check_kill(world, *host->second, ExecutorId(node), "removed from the controller");
}

bool Checkers::is_leaving_by_record(const World& world, const ExecutorId& id) const {
  for (const auto& process : world.schedulers) {
    const scheduler::ExecutorRecord* record = process->records.find(id.text);
    if (record == nullptr) continue;
    const ExecutorState state = record->state;
    if (state == ExecutorState::failed || state == ExecutorState::finished ||
        state == ExecutorState::destroying || state == ExecutorState::gone || state == ExecutorState::held)
      return true;
  }
  return false;
}

void Checkers::check_host(const World& world, Host& host) {
  const Resources used = host.model.resources_in_use(world.now);
  if (orders.lost_states.contains(host.id().text))
    return;  // what it finds and clears away takes room for a while
  if (const auto shortage = used.shortage_in(host.plan.capacity))
    report(world, "capacity is never exceeded", host.id().text + ": " + to_string(*shortage));
  std::int64_t ours = 0;
  std::map<TemplateName, int> by_template;
  for (const auto& [id, life] : world.lives) {
    if (life.host == host.id()) ++ours;
    // One that is leaving takes room on its host, but is none of its template any more.
    const agentd::IntentRecord* intent = world.host_by_id.at(life.host)->intents.find(id.text);
    const bool is_leaving = (intent != nullptr && intent->state == agentd::IntentState::destroying) ||
                            is_leaving_by_record(world, id);
    if (!is_leaving) ++by_template[life.template_name];
  }
  if (ours > host.plan.max_executors)
    report(world, "capacity is never exceeded",
           host.id().text + " has " + std::to_string(ours) + " executors");
  if (weather_.has_leader_lock || probes.contains("fault scheduler_state_lost"))
    return;  // a new leader cannot know of executors on hosts that it cannot see
  for (const auto& [name, count] : by_template) {
    const scheduler::Template* made_of = template_of(name);
    if (made_of != nullptr && count > made_of->maximum)
      report(world, "a template's maximum is kept",
             name.text + " has " + std::to_string(count) + " executors");
  }
}

// --- what really happened

void Checkers::on_build_changed(const World& world, const controller_sim::BuildRecord& build) {
  const ExecutorId id(build.node);
  Seen& seen = seen_[id];
  last_progress = world.now;
  const bool is_new = seen.build_ids.insert(build.id).second;
  if (is_new) {
    ++seen.builds;
    seen.build_started = world.now;
  }
  if (build.ended_at) {
    if (seen.running == build.id) seen.running.reset();
    ++builds_ended;
    if (build.result != "SUCCESS") probe("a build fails or is aborted");
  } else {
    seen.running = build.id;
    if (build.resumed > 0) probe("a block goes on after a restart");
  }
  const auto job = world.jobs.find(build.job);
  seen.is_pipeline = job != world.jobs.end() && job->second.is_pipeline;
  if (!is_new || seen.builds != 2) return;
  ++second_builds;
  probe("a second build on an executor");
  if (weather_.uses_hook)
    report(world, "one build per executor", id.text + " serves a second build, with the hook");
}

void Checkers::on_executor_gone(const simulation::ExecutorLife& life) {
  if (life.builds == 0) ++unused;
}

void Checkers::after_event(const World& world) {
  if (!gone_.empty()) check_gone(world);
  if (world.now >= next_round_) check_round(world);
  if (touched_hosts_.empty()) return;
  for (const HostId& id : touched_hosts_) check_host(world, *world.host_by_id.at(id));
  touched_hosts_.clear();
}

/// What would be too slow to look at after each event.
void Checkers::check_round(const World& world) {
  next_round_ = world.now + seconds(5);
  for (const auto& host : world.hosts) {
    if (!host->is_agentd_up()) {
      up_since_.erase(host->id());
      continue;
    }
    const Instant up = up_since_.try_emplace(host->id(), world.now).first->second;
    const bool is_healthy = !host->intents.is_full && host->driver.slow == Duration::zero() &&
                            host->driver.fails == 0 && host->driver.hangs == 0 &&
                            host->driver.unknown_not_done == 0;
    if (!is_healthy) last_sick_[host->id()] = world.now;
    std::map<ExecutorId, int> coming;
    int on_the_way = 0;
    for (const ExecutorReport& each : host->logic->report().executors) {
      // The host itself may not have noticed yet that an agent is connected.
      const auto life = world.lives.find(each.id);
      const bool is_there = life != world.lives.end() && life->second.connected;
      on_the_way += is_coming(each.state) && !is_there && !is_leaving_by_record(world, each.id) ? 1 : 0;
      const auto told = leases_.find(each.id);
      const Instant since = std::max({up, told == leases_.end() ? up : told->second, last_sick_[host->id()]});
      const agentd::IntentRecord* intent = host->intents.find(each.id.text);
      const bool may_build = intent != nullptr && intent->is_busy && intent->was_connected;
      if (!may_build && world.now - since > weather_.plan.scheduler.lease + minutes(4))
        report(world, "nothing outlives its lease", each.id.text + " on " + host->id().text);
    }
    const int limit = weather_.plan.scheduler.max_coming_per_host;
    // Two may be on their way out of this state, with nobody told yet.
    if (on_the_way > limit + 2 && !weather_.has_leader_lock)
      report(world, "starts are paced",
             host->id().text + " has " + std::to_string(on_the_way) + " on their way");
  }
}

std::optional<std::string> Checkers::unfinished_business(const World& world) const {
  if (world.next_arrival) return "jobs are still to come";
  if (world.controller.queue_length() > 0)
    return std::to_string(world.controller.queue_length()) + " items wait in the queue";
  if (!world.running_builds.empty()) return std::to_string(world.running_builds.size()) + " builds run";
  const simulation::SchedulerProcess* leader = nullptr;
  for (const auto& each : world.schedulers) {
    if (each->is_leading()) leader = each.get();
  }
  if (leader == nullptr) return "no scheduler leads";
  int idle_wanted = 0;
  for (const scheduler::Template& each : leader->config.templates) idle_wanted += each.minimum_idle;
  std::set<std::string> there;
  for (const auto& host : world.hosts) {
    if (!host->is_agentd_up()) return "agentd of " + host->id().text + " is down";
    for (const drivers::Instance& each : host->model.peek(host->owner(), world.now)) {
      const std::string what = each.id.text + " on " + host->id().text;
      if (each.state != drivers::InstanceState::running) return "sandbox " + what + " is left over";
      if (leader->records.find(each.id.text) == nullptr) return "sandbox " + what + " is known to nobody";
      there.insert(each.id.text);
    }
  }
  if (static_cast<int>(there.size()) > idle_wanted)
    return std::to_string(there.size()) + " executors, but at most " + std::to_string(idle_wanted) +
           " are wanted";
  for (const std::string& node : world.controller.node_names()) {
    const bool is_kept =
        node == weather_.plan.scheduler.controllers.front().sentinel_node || foreign_nodes.contains(node);
    if (!is_kept && !there.contains(node)) return "node " + node + " is left on the controller";
  }
  for (const std::string& id : there) {
    if (!world.controller.agent_online(id)) return "executor " + id + " has no agent";
  }
  return std::nullopt;
}

void Checkers::check_end(const World& world) {
  for (const auto& [id, seen] : seen_) {
    if (seen.builds < 2 || seen.is_audited_as_doubtful) continue;
    report(world, "a second build is always reported",
           id.text + " served " + std::to_string(seen.builds) + " builds, " +
               (seen.is_audited ? "and its audit is silent" : "and has no audit"));
  }
}

}  // namespace skep::sim
