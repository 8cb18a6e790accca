// The truth: builds, what is left over, and what is common to all checks.
#include "tests/sim/checkers.h"

#include <algorithm>
#include <utility>

#include "core/labels/label_expression.h"

namespace skep::sim {
namespace {

using simulation::World;

constexpr std::size_t secret_chars = 64;
// A verb of a driver that is well takes seconds, and agentd looks at what it has to do at each event.
constexpr Duration begin_within = seconds(20);
// A list, a verb that was under way when the driver was ill, and the longest pause before the next one.
constexpr Duration known_within = seconds(65) + seconds(35);
constexpr Duration open_at_most = seconds(20);  // gate_open_limit, and a close that is tried again
// What others open shows in the list of nodes, which is read so rarely while nothing is under way.
constexpr Duration opened_by_hand_at_most = seconds(30) + open_at_most;

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
                                 "an older leader orders an executor",
                                 "agentd starts with executors",
                                 "an intent cannot be recorded",
                                 "a build fails or is aborted",
                                 "a block goes on after a restart",
                                 "a second build on an executor",
                                 "an audit tells of a second build",
                                 "an audit cannot rule out a second build",
                                 "a leader hears of a newer one",
                                 "a host is forgotten",
                                 "a companion tells",
                                 "a companion tells a base",
                                 "a companion does not tell",
                                 "what was given up comes back and is destroyed",
                                 "an answer of a host is not understood",
                                 "a process has no room for a call",
                                 "a start lacks its image",
                                 "another image of a host that lacks one is started",
                                 "an older agentd does not know a field",
                                 "an older scheduler does not know a field",
                                 "agentd ends in order",
                                 "an order meets a host that drains",
                                 "a canary begins",
                                 "a version rolls",
                                 "a rollout is done",
                                 "a rollout stops",
                                 "an idle executor of another version is replaced",
                                 "a version that never joins is started"};
  for (std::size_t i = 0; i < fault_kind_count; ++i)
    names.push_back("fault " + std::string(to_string(static_cast<FaultKind>(i))));
  return names;
}

Checkers::Checkers(const Weather& weather) : weather_(weather) {
  for (const simulation::Arrival& job : weather.arrivals) {
    Wanted& wanted = wanted_[job.label];
    for (const scheduler::Template& each : weather.plan.scheduler.templates) {
      LabelSet labels = each.labels;
      labels.insert("swarm");
      const bool is_match = is_any_node_text(job.label)
                                ? each.takes_unlabelled
                                : LabelExpression::from_job(job.label).matches(labels);
      if (is_match) wanted.templates.insert(each.name);
    }
  }
}

void Checkers::report(const World& world, std::string promise, std::string detail) {
  if (!violation) violation = Violation{std::move(promise), std::move(detail), world.now};
}

void Checkers::on_note(const World& world, const std::string& text) {
  if (text.ends_with("goes on")) resumed_ = world.now;
  if (text.starts_with("the controller restarts")) restarted_ = item_left_ = world.now;
  if (text.starts_with("fault: item_cancelled")) item_left_ = world.now;
  if (text.starts_with("fault: gray_host") || text.starts_with("fault: driver_") ||
      text.starts_with("fault: host_exhausted")) {  // which may be over before the next round
    for (const auto& host : world.hosts) last_driver_sick_[host->id()] = last_sick_[host->id()] = world.now;
  }
  if (text.starts_with("scheduler ")) {
    const int number = std::stoi(text.substr(10));
    if (text.ends_with("is stopped")) stopped_.insert(number);
    if (text.ends_with("goes on") || text.ends_with(" ends")) stopped_.erase(number);
    if (text.ends_with(" ends")) leaving_.erase(number);
    if (text.ends_with("goes on")) {
      for (auto& [id, leaving] : leaving_[number]) leaving.since = world.now;
    }
  }
  if (text.starts_with("seen: ")) {
    ++probes[text.substr(6)];
  } else if (text.starts_with("fault: ")) {
    ++probes["fault " + text.substr(7, text.find(' ', 7) - 7)];
  } else if (text.ends_with("ends in order")) {
    probe("agentd ends in order");
  } else if (text.find("is killed") != std::string::npos) {
    probe("agentd killed between two actions");
  } else if (text.starts_with("scheduler ") && text.ends_with(" ends")) {
    probe("a scheduler ends");
    ++schedulers_ended_;
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

void Checkers::check_text(const World& world, const std::string& text) {
  std::size_t run = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    run = is_hex(text[i]) ? run + 1 : 0;
    if (run >= secret_chars / 2 && i + 1 >= secret_chars &&
        secrets_.contains(text.substr(i + 1 - secret_chars, secret_chars)))
      return report(world, "no secret in a log line", text);
  }
}

void Checkers::on_build_changed(const World& world, const controller_sim::BuildRecord& build) {
  const ExecutorId id(build.node);
  Seen& seen = seen_[id];
  last_progress = world.now;
  const bool is_new = seen.build_ids.insert(build.id).second;
  if (is_new) {
    ++seen.builds;
    seen.build_started = world.now;
    item_left_ = world.now;
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
  if (job != world.jobs.end() && begun_.insert(build.job).second) {
    Wanted& wanted = wanted_[job->second.label];
    --wanted.jobs;
    wanted.last = world.now;
  }
  if (!is_new || seen.builds != 2) return;
  ++second_builds;
  probe("a second build on an executor");
  // Opened by hand while nobody could see: told as soon as anybody sees it, which a restart may prevent.
  const bool is_blind =
      world.controller_weather.lists_are_stale || !nodes_read_ || world.now - *nodes_read_ > seconds(5);
  if (is_blind && orders.nodes_touched_by_hand.contains(id.text)) beyond_sight_.insert(id);
  if (weather_.uses_hook)
    report(world, "one build per executor", id.text + " serves a second build, with the hook");
}

void Checkers::on_arrival(const simulation::Arrival& job, std::int64_t) {
  ++wanted_[job.label].jobs;
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
  if (!is_controller_well(world)) controller_sick_ = world.now;
  if (world.controller_weather.lists_are_stale) stale_lists_ = world.now;
  for (const auto& host : world.hosts) check_host_round(world, *host);
  std::map<ExecutorId, Instant> online;
  for (const auto& [id, life] : world.lives) {
    if (!life.connected || !world.controller.agent_online(id.text)) continue;
    const auto before = agents_online_.find(id);
    online.emplace(id, before == agents_online_.end() ? world.now : before->second);
  }
  agents_online_ = std::move(online);
  check_leaving(world);
  check_covered(world);
  check_open_nodes(world);
  check_met(world);
  for (const auto& [id, opened] : std::exchange(used_unseen_, {})) {
    if ((!item_left_ || *item_left_ < opened) && seen_[id].builds == 0)
      report(world, "unknown is never empty",
             id.text + " is given up as used, and no item has left the queue");
  }
}

void Checkers::check_host_round(const World& world, simulation::Host& host) {
  if (!host.is_agentd_up()) {
    up_since_.erase(host.id());
    return;
  }
  const Instant up = up_since_.try_emplace(host.id(), world.now).first->second;
  const bool is_driver_well = host.driver.slow == Duration::zero() && host.driver.fails == 0 &&
                              host.driver.fails_for_now == 0 && host.driver.hangs == 0 &&
                              host.driver.unknown_not_done == 0 && host.exhausted == 0;
  if (!is_driver_well) last_driver_sick_[host.id()] = world.now;
  if (!is_driver_well || host.intents.is_full) last_sick_[host.id()] = world.now;
  check_drain(world, host);
  int on_the_way = 0;
  for (const ExecutorReport& each : host.logic->report().executors) {
    // The host itself may not have noticed yet that an agent is connected.
    const auto life = world.lives.find(each.id);
    const bool is_there = life != world.lives.end() && life->second.connected;
    on_the_way += is_coming(each.state) && !is_there && !is_leaving_by_record(world, each.id) ? 1 : 0;
    const auto told = leases_.find(each.id);
    const Instant since = std::max({up, told == leases_.end() ? up : told->second, last_sick_[host.id()]});
    check_known(world, host, each);
    const agentd::IntentRecord* intent = host.intents.find(each.id.text);
    const bool may_build = intent != nullptr && intent->is_busy && intent->was_connected;
    if (!may_build && world.now - since > weather_.plan.scheduler.lease + minutes(4))
      report(world, "nothing outlives its lease", each.id.text + " on " + host.id().text);
    const std::optional<Instant>& asked = seen_[each.id].destroy_asked;
    // A verb that was under way when the driver was ill may take a minute more.
    const Instant able = std::max(up, last_driver_sick_[host.id()] + seconds(65));
    if (asked && world.now - std::max(*asked, able) > begin_within)
      report(world, "what must go goes",
             each.id.text + ": " + host.id().text + " was told to destroy it and has not begun");
  }
  const int limit = weather_.plan.scheduler.max_coming_per_host;
  // Two may be on their way out of this state, with nobody told yet.
  if (on_the_way > limit + 2 && !weather_.has_leader_lock)
    report(world, "starts are paced",
           host.id().text + " has " + std::to_string(on_the_way) + " on their way");
}

/// A host that was told to drain does so until it is told otherwise, whatever happens to its agentd.
void Checkers::check_drain(const World& world, const simulation::Host& host) {
  if (host.is_drained && !host.logic->report().is_draining)
    report(world, "a drain lasts until it is taken back", host.id().text + " does not drain any more");
}

/// What runs is looked at: "unknown" is what a host says while it cannot look.
void Checkers::check_known(const World& world, const simulation::Host& host, const ExecutorReport& each) {
  if (each.state != ExecutorState::unknown) return;
  Instant able = up_since_.at(host.id());
  if (const auto sick = last_driver_sick_.find(host.id()); sick != last_driver_sick_.end())
    able = std::max(able, sick->second);
  if (world.now - able > known_within)
    report(world, "what runs is known",
           each.id.text + ": " + host.id().text + " could look at it, and does not know its state");
}

bool Checkers::is_controller_well(const World& world) const {
  const auto& weather = world.controller_weather;
  const bool is_answering = weather.refused == 0 && weather.unusable == 0 &&
                            weather.slow == Duration::zero() && !weather.lists_are_stale &&
                            weather.trust == simulation::Trust::kept && world.controller.listening();
  return is_answering &&
         std::all_of(world.schedulers.begin(), world.schedulers.end(), [this](const auto& process) {
           const simulation::Link& link = process->controller_link;
           return process->is_leading() && !stopped_.contains(process->number()) && process->exhausted == 0 &&
                  link.lost_requests == 0 && link.lost_replies == 0 && link.late_requests == 0 &&
                  link.jitter == Duration::zero() && !link.is_request_cut && !link.is_reply_cut;
         });
}

/// A node that takes builds without anybody's knowing that it does.
void Checkers::check_open_nodes(const World& world) {
  if (weather_.uses_hook || weather_.schedulers > 1) return;
  const bool is_well = !controller_sick_ || world.now - *controller_sick_ > minutes(1);
  for (const auto& [id, life] : world.lives) {
    Seen& seen = seen_[id];
    const bool is_open =
        world.controller.takes_builds(id.text) && !world.controller.running_build_on(id.text);
    const bool is_reached = !seen.called_back && !seen.is_unreached && !is_leaving_by_record(world, id);
    const Duration limit =
        orders.nodes_touched_by_hand.contains(id.text) ? opened_by_hand_at_most : open_at_most;
    if (!is_open || !is_well || !is_reached) {
      seen.open_since.reset();
    } else if (!seen.open_since) {
      seen.open_since = world.now;
    } else if (world.now - *seen.open_since > limit) {
      report(world, "an open gate is watched", id.text + " takes builds, and nobody closes it");
    }
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
  for (const auto& [id, record] : leader->records.records()) {
    if (orders.lost_for_good.contains(record.host) && record.state != ExecutorState::gone)
      return id + " is on record on " + record.host.text + ", which is gone for good";
  }
  for (const auto& host : world.hosts) {
    if (orders.lost_for_good.contains(host->id())) continue;
    if (!host->is_agentd_up()) return "agentd of " + host->id().text + " is down";
    for (const drivers::Instance& each : host->model.peek(host->owner(), world.now)) {
      const std::string what = each.id.text + " on " + host->id().text;
      if (each.state != drivers::InstanceState::running) return "sandbox " + what + " is left over";
      if (leader->records.find(each.id.text) == nullptr) return "sandbox " + what + " is known to nobody";
      there.insert(each.id.text);
    }
    for (const auto& [id, intent] : host->intents.records()) {
      if (intent.state != agentd::IntentState::gone && !there.contains(id))
        return host->id().text + " keeps room for " + id + ", which is not there";
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
  return unfinished_rollout(world, *leader);
}

void Checkers::check_end(const World& world) {
  for (const auto& [id, seen] : seen_) {
    if (seen.builds < 2 || seen.is_audited_as_doubtful || beyond_sight_.contains(id)) continue;
    // A leader that saw it and was replaced has it on record, and audits it when it leads again.
    const bool is_on_record =
        std::any_of(world.schedulers.begin(), world.schedulers.end(), [&id = id](const auto& process) {
          const scheduler::ExecutorRecord* record = process->records.find(id.text);
          return !process->is_leading() && record != nullptr && record->builds_seen.size() > 1;
        });
    if (is_on_record) continue;
    report(world, "a second build is always reported",
           id.text + " served " + std::to_string(seen.builds) + " builds, " +
               (seen.is_audited ? "and its audit is silent" : "and has no audit"));
  }
}

}  // namespace skep::sim
