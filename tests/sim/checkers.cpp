// The truth: builds, what is left over, and what is common to all checks.
#include "tests/sim/checkers.h"

#include <algorithm>

namespace skep::sim {
namespace {

using simulation::World;

constexpr std::size_t secret_chars = 64;

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
