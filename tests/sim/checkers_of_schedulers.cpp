// What schedulers ask for: allowed by what is known, by what operators said, and by what is on record.
#include <algorithm>
#include <limits>
#include <utility>

#include "tests/sim/checkers.h"

namespace skep::sim {
namespace {

using simulation::Host;
using simulation::World;

constexpr std::size_t most_plans_a_minute = 250, most_creations_a_minute = 250;
constexpr std::size_t most_refusals_a_minute = 100;
// A list is waited for first; then it is asked for at once.
constexpr Duration asked_within = seconds(20);
constexpr Duration told_of_silence_within = seconds(70);
constexpr Epoch highest_epoch = std::numeric_limits<Epoch>::max();

}  // namespace

void Checkers::on_scheduler_event(const World& world, int scheduler, const scheduler::Event& event) {
  decided_[scheduler] = world.now;
  note_gates(scheduler, event);
  if (const auto* read = std::get_if<scheduler::QueueRead>(&event)) {
    if (read->queue) queue_read_ = world.now;
    const bool is_quieting = read->queue && read->queue->is_quieting_down;
    if (read->queue && !is_quieting) quiet_since_.reset();
    if (is_quieting && !quiet_since_) quiet_since_ = world.now;
    if (read->queue) note_queue(world, scheduler, *read->queue);
  } else if (const auto* companion = std::get_if<scheduler::CompanionTold>(&event)) {
    probe(companion->is_base ? "a companion tells a base" : "a companion tells");
    queue_read_ = world.now;
    note_queue(world, scheduler, companion->queue);
  } else if (std::holds_alternative<scheduler::CompanionLost>(event)) {
    probe("a companion does not tell");
  } else if (const auto* nodes = std::get_if<scheduler::NodesRead>(&event)) {
    if (nodes->nodes) nodes_read_ = world.now;
    if (nodes->nodes && !world.controller_weather.lists_are_stale) {
      for (const scheduler::NodeFact& each : nodes->nodes->nodes) beyond_sight_.erase(ExecutorId(each.name));
    }
  } else if (const auto* created = std::get_if<scheduler::NodeCreated>(&event)) {
    note_refusal(world, *created);
    if (created->secret) seen_[created->node].made_by = scheduler;
  } else if (const auto* told = std::get_if<scheduler::HostReported>(&event)) {
    is_host_seen_[{scheduler, told->report.host}] = true;
    note_host_told(world, scheduler, told->report);
    note_newer_leader(world, scheduler, told->report.epoch_seen);
  } else if (const auto* ordered = std::get_if<scheduler::ExecutorOrdered>(&event)) {
    if (!ordered->result && ordered->result.error().code == ErrorCode::stale_epoch)
      note_newer_leader(world, scheduler, highest_epoch);
    if (!ordered->result && ordered->result.error().outcome == Outcome::failed)
      seen_[ordered->executor].is_refused = true;
  } else if (const auto* renewed = std::get_if<scheduler::LeasesRenewed>(&event)) {
    if (renewed->result) note_newer_leader(world, scheduler, renewed->result->epoch_seen);
  } else if (const auto* unseen = std::get_if<scheduler::HostUnseen>(&event)) {
    is_host_seen_[{scheduler, unseen->host}] = false;
    hosts_told_[{scheduler, unseen->host}].since.reset();
    probe("a host is unseen");
  } else if (const auto* departed = std::get_if<scheduler::HostDeparted>(&event)) {
    probe("a host departs");
    for (const auto& [id, seen] : seen_) {
      const Host* host = world.host_by_id.at(departed->host);
      const bool is_there = seen.host == departed->host && host->model.look_at(id, world.now).has_value();
      const auto& records = world.schedulers[static_cast<std::size_t>(scheduler)]->records;
      if (is_there && records.find(id.text) != nullptr && !orders.given_up.contains(id))
        report(world, "a host departs only with nothing of ours on it",
               departed->host.text + " still has " + id.text);
    }
  } else if (const auto* forget = std::get_if<scheduler::ForgetHost>(&event)) {
    probe("a host is forgotten");
    check_forgotten(world, scheduler, forget->host);
  } else if (std::holds_alternative<scheduler::ConfigChanged>(event)) {
    note_controllers(world, scheduler);
  } else if (const auto* started = std::get_if<scheduler::LeaderStarted>(&event)) {
    leader_since_ = world.now;
    note_untold(world, *started);
    std::erase_if(orders.holds, [&](const auto& pair) {
      const Orders::Hold& hold = pair.second;
      if (hold.of != world.schedulers[static_cast<std::size_t>(scheduler)].get()) return false;
      // One that starts reads the end as a time of its wall's clock, which may have been set meanwhile.
      if (world.wall(hold.of->wall_offset).ms_since_epoch >= hold.wall_until.ms_since_epoch) return true;
      orders.held_at_most_until = std::max(orders.held_at_most_until, world.now + hold.length);
      return false;
    });
    note_controllers(world, scheduler);
    queues_.erase(scheduler);
    // Where somebody else led in between, it is looked at first, and is not leaving by then.
    const bool has_another_led = started->led_before + 1 != started->epoch;
    for (const scheduler::ExecutorRecord& each : started->executors) {
      if (each.state == ExecutorState::destroying && !has_another_led)
        leaving_[scheduler][each.id] = {world.now, false, false, each.controller, each.host};
    }
    for (auto& [key, is_seen] : is_host_seen_) {
      if (key.first == scheduler) is_seen = false;
    }
    for (auto& [key, last_told] : hosts_told_) {
      if (key.first == scheduler) last_told = {};
    }
  }
}

/// The nodes of a controller that left the configuration cannot be seen nor deleted.
void Checkers::note_controllers(const World& world, int scheduler) {
  const auto& process = *world.schedulers[static_cast<std::size_t>(scheduler)];
  for (const auto& [id, record] : process.records.records()) {
    if (record.controller != process.config.controllers.front().name) seen_[record.id].is_unreached = true;
  }
}

/// Nobody led, and the records of who led before are lost: of what is gone meanwhile nothing could have told.
void Checkers::note_untold(const World& world, const scheduler::LeaderStarted& started) {
  const auto nodes = world.controller.node_names();
  std::set<ExecutorId> known;
  for (const std::string& name : nodes) known.insert(ExecutorId(name));
  for (const scheduler::ExecutorRecord& each : started.executors) known.insert(each.id);
  for (const auto& host : world.hosts) {
    for (const drivers::Instance& each : host->model.peek(host->owner(), world.now)) known.insert(each.id);
  }
  for (const auto& [id, seen] : seen_) {
    if (!seen.is_audited && !known.contains(id)) beyond_sight_.insert(id);
  }
}

/// Which gates a scheduler may have open, by what it asked for and was told; never more than are.
void Checkers::note_gates(int scheduler, const scheduler::Event& event) {
  auto& open = open_gates_[scheduler];
  if (std::holds_alternative<scheduler::LeaderStarted>(event)) open.clear();
  if (const auto* opened = std::get_if<scheduler::GateOpened>(&event); opened != nullptr && !opened->result)
    open.erase(opened->node);
  if (const auto* polled = std::get_if<scheduler::NodePolled>(&event)) {
    if (polled->fact && *polled->fact) beyond_sight_.erase(polled->node);
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
  note_leaving(world, scheduler, action);
  if (const auto* record = std::get_if<scheduler::RecordExecutor>(&action)) {
    check_plan(world, scheduler, record->record);
    check_used(world, record->record);
    if (record->record.state == ExecutorState::failed) {
      check_failed(world, record->record);
      check_launch_given_up(world, scheduler, record->record);
    }
    if (record->record.state == ExecutorState::gone) gone_.emplace_back(scheduler, record->record);
  } else if (const auto* image = std::get_if<scheduler::RecordImage>(&action)) {
    note_rollout(image->image);
  } else if (const auto* order = std::get_if<scheduler::OrderExecutor>(&action)) {
    check_order(world, *order);
    const scheduler::ExecutorRecord* known =
        world.schedulers[static_cast<std::size_t>(scheduler)]->records.find(order->order.spec.id.text);
    if (known != nullptr && !known->image.empty() && known->image != order->order.spec.image)
      report(world, "a launch has a version that was decided",
             known->id.text + " is ordered of " + order->order.spec.image + ", on record is " + known->image);
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
    if (audit->end.find(" takes the place of ") != std::string::npos)
      probe("an idle executor of another version is replaced");
    check_text(world, audit->end);
  } else if (const auto* line = std::get_if<scheduler::Explain>(&action)) {
    check_text(world, line->message);
    for (const auto& [key, value] : line->fields) check_text(world, value);
  } else if (const auto* destroy = std::get_if<scheduler::DestroyExecutor>(&action)) {
    if (orders.given_up.contains(destroy->executor)) probe("what was given up comes back and is destroyed");
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
    open_gates_[scheduler].insert_or_assign(open->node, world.now);
    seen_[open->node].opened = world.now;
    check_opening(world, scheduler, *open);
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
        *nodes_read_ - std::max(offline->second, stale_lists_.value_or(offline->second)) > seconds(11))
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
  for (const auto& [scheduler, record] : std::exchange(gone_, {})) {
    const auto host = world.host_by_id.find(record.host);
    const bool runs = host != world.host_by_id.end() &&
                      host->second->model.look_at(record.id, world.now).has_value() &&
                      !orders.lost_states.contains(record.host.text) && !orders.given_up.contains(record.id);
    if (runs)
      report(world, "gone is seen gone", record.id.text + " is recorded gone, and its sandbox is there");
    const auto nodes = world.controller.node_names();
    const auto& config = world.schedulers[static_cast<std::size_t>(scheduler)]->config;
    const bool is_reached =
        config.controllers.front().name == record.controller && !seen_[record.id].is_unreached;
    if (is_reached && std::find(nodes.begin(), nodes.end(), record.id.text) != nodes.end())
      report(world, "gone is seen gone", record.id.text + " is recorded gone, and its node is there");
    if (!seen_[record.id].is_audited)
      report(world, "each executor leaves an audit record", record.id.text + " is recorded gone without one");
  }
}

/// What is given up must leave: asked for soon, on both sides, whether it succeeds or not.
void Checkers::note_leaving(const World& world, int scheduler, const scheduler::Action& action) {
  auto& leaving = leaving_[scheduler];
  if (const auto* record = std::get_if<scheduler::RecordExecutor>(&action)) {
    const scheduler::ExecutorRecord& each = record->record;
    if (each.state == ExecutorState::destroying)
      leaving.try_emplace(each.id, Leaving{world.now, false, false, each.controller, each.host});
    else
      leaving.erase(each.id);
  } else if (const auto* remove = std::get_if<scheduler::DeleteNode>(&action)) {
    const auto found = leaving.find(ExecutorId(remove->node));
    if (found != leaving.end()) found->second.is_node_asked = true;
  } else if (const auto* destroy = std::get_if<scheduler::DestroyExecutor>(&action)) {
    const auto found = leaving.find(destroy->executor);
    if (found != leaving.end()) found->second.is_host_asked = true;
  }
}

void Checkers::check_leaving(const World& world) {
  for (const auto& process : world.schedulers) {
    if (!process->is_leading() || stopped_.contains(process->number())) continue;
    for (const auto& [id, leaving] : leaving_[process->number()]) {
      if (world.now - leaving.since < asked_within) continue;
      const bool is_host_left = leaving.is_host_asked || orders.lost_states.contains(leaving.host.text) ||
                                orders.given_up.contains(id);
      if (!is_host_left && world.lives.contains(id))
        report(world, "what must go goes", id.text + " is being destroyed, and its host does not know");
      // A list from before its node was made says that there is nothing to delete, until the next one is
      // read.
      const bool is_seen = !stale_lists_ || world.now - *stale_lists_ >= asked_within;
      const bool is_node_left = leaving.is_node_asked || !is_seen || seen_[id].is_unreached;
      if (is_node_left) continue;
      const auto nodes = world.controller.node_names();
      if (std::find(nodes.begin(), nodes.end(), id.text) != nodes.end())
        report(world, "what must go goes",
               id.text + " is being destroyed, and its node may still get an agent");
    }
  }
}

/// What comes on a host that does not tell any more stands for no job.
void Checkers::check_covered(const World& world) {
  if (world.controller.queue_length() == 0) return;
  if (resumed_ && world.now - *resumed_ < told_of_silence_within) return;  // nothing was noticed meanwhile
  for (const auto& process : world.schedulers) {
    const int scheduler = process->number();
    if (!process->is_leading() || stopped_.contains(scheduler)) continue;
    const auto is_silent = [&](const auto& told) {
      return told.first.first == scheduler && told.second.last &&
             world.now - *told.second.last > told_of_silence_within;
    };
    if (std::none_of(hosts_told_.begin(), hosts_told_.end(), is_silent)) continue;
    const auto status = process->logic->status(world.now, world.wall(process->wall_offset));
    std::set<ExecutorId> coming;
    for (const scheduler::ExecutorStatus& each : status.executors) {
      if (is_coming(each.record.state)) coming.insert(each.record.id);
    }
    for (const scheduler::Explanation& each : status.queue) {
      const bool is_its_own = each.reason == scheduler::WaitReason::resume;  // no other one will do
      if (is_its_own || !each.executor || !coming.contains(*each.executor)) continue;
      const auto told = hosts_told_.find({scheduler, seen_[*each.executor].host});
      if (told == hosts_told_.end() || !is_silent(*told)) continue;
      report(world, "no job waits for what is lost",
             "item " + std::to_string(each.item) + " waits for " + each.executor->text + ", and " +
                 told->first.second.text + " has said nothing for " +
                 duration_to_text(world.now - *told->second.last));
    }
  }
}

void Checkers::note_queue(const World& world, int scheduler, const scheduler::QueueSnapshot& queue) {
  Queue& last = queues_[scheduler];
  last.read = world.now;
  last.buildable_before = last.buildable;
  last.buildable =
      static_cast<std::size_t>(std::count_if(queue.items.begin(), queue.items.end(), [](const auto& item) {
        return item.stage == scheduler::ItemStage::buildable;
      }));
}

/// One item opens one gate, and it is an item that the node can serve.
void Checkers::check_opening(const World& world, int scheduler, const scheduler::OpenGate& open) {
  // As with its nodes: what a leader that was suspended still sends cannot be refused.
  if (world.schedulers[static_cast<std::size_t>(scheduler)]->epoch < highest_leader_) return;
  const Queue& queue = queues_[scheduler];
  std::size_t since = 0;
  for (const auto& [id, when] : open_gates_[scheduler])
    since += when > queue.read && !is_leaving_by_record(world, id) ? 1 : 0;
  if (since > std::max(queue.buildable, queue.buildable_before))
    report(world, "one item opens one gate",
           std::to_string(since) + " gates are open for " + std::to_string(queue.buildable) + " items");
  const auto record = seen_.find(open.node);
  if (record != seen_.end() && !record->second.template_name.text.empty())
    check_demand(world, scheduler, record->second.template_name,
                 "the gate of " + open.node.text + " is opened");
}

/// Somebody wants, or a moment ago wanted, what this template makes.
void Checkers::check_demand(const World& world, int scheduler, const TemplateName& name,
                            const std::string& what) {
  // Between a decision and what it leads to the whole machine may be suspended.
  const Instant decided = decided_[scheduler];
  // An old list may name what left long ago.
  if (stale_lists_ && world.now - *stale_lists_ < minutes(1)) return;
  const bool is_wanted = std::any_of(wanted_.begin(), wanted_.end(), [&](const auto& entry) {
    const Wanted& each = entry.second;
    const bool is_recent = each.last > Instant{} && decided - each.last < minutes(1);
    return each.templates.contains(name) && (each.jobs > 0 || is_recent);
  });
  if (!is_wanted) report(world, "executors are for jobs that can use them", what + ", and no job can use it");
}

/// A controller that makes no nodes is asked less and less often.
void Checkers::note_refusal(const World& world, const scheduler::NodeCreated& created) {
  if (created.secret || created.secret.error().outcome != Outcome::failed) return;
  refusals_.push_back(world.now);
  while (refusals_.front() + seconds(60) < world.now) refusals_.pop_front();
  if (refusals_.size() > most_refusals_a_minute && weather_.schedulers == 1)
    report(world, "no storm", std::to_string(refusals_.size()) + " nodes were refused within a minute");
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
  // A question to a companion waits for 30 s when nothing happens.
  const Duration life = process.config.controllers.front().companion ? fact_life + seconds(35) : fact_life;
  const auto is_old = [&](const std::optional<Instant>& read) { return !read || world.now - *read > life; };
  const bool decided_before_a_stop = resumed_ && world.now - *resumed_ < seconds(30);
  if (is_old(queue_read_) && is_old(nodes_read_) && !decided_before_a_stop)
    report(world, "unknown is never empty",
           what + " was planned although nothing is known of the controller");
  const auto host_seen = is_host_seen_.find({scheduler, record.host});
  if (host_seen == is_host_seen_.end() || !host_seen->second)
    report(world, "unknown is never empty", what + " was planned although the host cannot be seen");
  const scheduler::Template* made_of = template_of(record.template_name);
  const Told& told = hosts_told_[{scheduler, record.host}];
  if (told.is_draining)
    report(world, "a drained host gets no executor", what + ", which said that it drains");
  const std::string& image = record.image.empty() && made_of != nullptr ? made_of->image : record.image;
  const bool has_image =
      made_of == nullptr || std::find(told.images.begin(), told.images.end(), image) != told.images.end();
  if (!has_image)
    report(world, "placement keeps to the template's rules", what + ", which has no image " + image);
  check_version(world, scheduler, record);
  const auto keeps_some = [&](const scheduler::Template& each) {
    return each.name == record.template_name && each.minimum_idle > 0;
  };
  const bool is_suspended_leader = process.epoch < highest_leader_;  // as for an opening
  if (!is_suspended_leader &&
      std::none_of(process.config.templates.begin(), process.config.templates.end(), keeps_some))
    check_demand(world, scheduler, record.template_name, what + " is launched");
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

}  // namespace skep::sim
