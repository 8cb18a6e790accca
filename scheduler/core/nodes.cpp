// What a read of nodes means for each executor, and which nodes are ours but nobody's.
#include <algorithm>
#include <utility>

#include "scheduler/core/logic_state.h"
#include "scheduler/core/node_names.h"

namespace skep::scheduler {
namespace {

constexpr Duration delete_again_after = seconds(5);
constexpr int sightings_before_sweep = 2;
constexpr Duration hosts_tell_within = minutes(1);

/// Of names asked for in their order: mostly it is the next one, and one comparison says so.
const NodeFact* next_of(std::map<std::string, NodeFact>::const_iterator& next,
                        const std::map<std::string, NodeFact>& nodes, const std::string& name) {
  const bool is_next = next != nodes.cend() && next->first == name;
  while (!is_next && next != nodes.cend() && next->first < name) ++next;
  if (!is_next && (next == nodes.cend() || next->first != name)) return nullptr;
  return &(next++)->second;
}

}  // namespace

void LogicState::on_nodes_read(const NodesRead& event) {
  Controller* c = controller(event.controller);
  if (c == nullptr) return;
  if (!event.nodes) {
    end_poll(*c, c->nodes_poll, event.started, &event.nodes.error(), false);
    return;
  }
  const bool is_current = note_session(*c, event.session, event.started);
  end_poll(*c, c->nodes_poll, event.started, nullptr, false);
  if (!is_current) {
    read_soon(c->nodes_poll);
    return;
  }
  keep_nodes(*c, event.nodes->nodes);
  auto node = c->nodes.cbegin();  // both are in the order of their names
  for (auto& [id, e] : executors) {
    const NodeFact* fact = next_of(node, c->nodes, id.text);
    if (e.of != c || e.state() == ExecutorState::gone) continue;
    if (fact == nullptr && (event.started < e.create_answered || doubts_absence(*c, e))) continue;
    apply_node(e, fact, {event.started, true});
  }
  meet_strays();
  advance_sentinel(*c);
  sweep_orphans(*c);
  replan();
}

/// From one list to the next few nodes change: what stays the same is not copied. Of a name that comes twice
/// the last one counts.
void LogicState::keep_nodes(Controller& c, const std::vector<NodeFact>& read) {
  auto kept = c.nodes.begin();
  const NodeFact* last = nullptr;
  for (const NodeFact& fact : read) {
    if (kept == c.nodes.end() || kept->first != fact.name) {
      if (last != nullptr && fact.name <= last->name) {  // not in the order of names
        c.nodes.clear();
        for (const NodeFact& each : read) c.nodes.insert_or_assign(each.name, each);
        return;
      }
      while (kept != c.nodes.end() && kept->first < fact.name) kept = c.nodes.erase(kept);
    }
    if (kept == c.nodes.end() || kept->first != fact.name) {
      kept = c.nodes.emplace_hint(kept, fact.name, fact);
    } else if (!(kept->second == fact)) {
      kept->second = fact;
    }
    last = &fact;
    ++kept;
  }
  c.nodes.erase(kept, c.nodes.end());
}

/// A list may be older than it claims to be, so it cannot take away what was there for certain: the node
/// itself is asked, or deleted all the same. True: the list tells nothing about it.
bool LogicState::doubts_absence(Controller& c, Executor& e) {
  if (e.creation == Executor::Creation::unknown) {
    look_soon(e, Duration::zero());
    return true;
  }
  if (e.node_session != c.session || e.lost_since) return false;
  // A hook removes the nodes of builds, and of nothing else: not one that was made again in vain.
  const bool is_hooks = !is_gated(e) && e.record.was_used && !e.is_resuming;
  if (e.state() >= ExecutorState::finished) return !e.delete_acked && !is_hooks;
  const bool is_told_by_agent = !is_gated(e) && e.agent == AgentPhase::ended;
  if (e.is_resuming || e.creation != Executor::Creation::done) return false;
  // The news of its end may be on its way; else the next list decides, which is asked for.
  if (!e.missing_since) e.missing_since = now;
  if (c.is_told && now - *e.missing_since < news_within) {
    if (!c.read_again_at) c.read_again_at = *e.missing_since + news_within;
    return true;
  }
  if (is_told_by_agent) return false;
  look_soon(e, Duration::zero());
  return true;
}

void LogicState::on_node_polled(const NodePolled& event) {
  Executor* e = find(event.node);
  if (e == nullptr) return;
  e->is_poll_pending = false;
  touch(*e);
  if (event.fact) {
    e->poll_retry.reset();
    // A node that is absent because the controller was restarted was not removed by anybody.
    Controller* c = controller(event.controller);
    if (c != nullptr && !note_session(*c, event.session, event.started)) return;
    const std::optional<NodeFact>& fact = *event.fact;
    note_watch(*e, event);
    apply_node(*e, fact ? &*fact : nullptr, {event.started, false});
    return;
  }
  const Duration first_wait = e->offer ? milliseconds(5) : milliseconds(100);
  e->poll_retry.note_failure(now, first_wait, seconds(5));
  if (e->gate != Gate::opening && e->gate != Gate::open) return;
  say(Level::warning,
      "could not watch an open gate: " + event.fact.error().message + "; it is closed at once",
      {{"executor", e->id().text}}, "watch " + e->record.controller.text);
  begin_close(*e, std::string(our_offline_prefix) + " not watched");
}

void LogicState::apply_node(Executor& e, const NodeFact* fact, NodeRead read) {
  const Instant started = read.started;
  if (e.create.is_pending()) return;
  if (started < e.create_answered) return;  // cannot know of the creation
  if (fact != nullptr && was_open_before(e, *fact, started)) note_opened_by_others(e);
  // Older than what is known; but a build that was seen has run.
  if (e.is_node_known && started < e.node_read) {
    if (fact != nullptr) note_builds(e, *fact);
    return;
  }
  if (e.lost_since && started < *e.lost_since && fact != nullptr) return;  // from before the loss
  e.is_node_known = true;
  e.node_read = started;
  e.is_node_listed = read.is_list;
  if (fact != nullptr) {
    e.missing_since.reset();
    const Controller* c = controller_of(e);
    if (c != nullptr && e.node_session != c->session) e.node_session = c->session;
    if (e.node != *fact) e.node = *fact;
    node_present(e);
  } else {
    e.node.reset();
    node_absent(e);
  }
  touch(e);
}

/// The hook removed the node that was made again: its block went on and ended between two looks.
void LogicState::went_on_and_left(Executor& e) {
  const Controller* c = controller_of(e);
  const bool has_ended = e.creation == Executor::Creation::done && e.is_order_acked &&
                         e.agent == AgentPhase::ended && e.agent_exit_code.value_or(1) == 0;
  if (c == nullptr || is_gated(e) || !has_ended || e.node_session != c->session || is_awaited(*c, e)) return;
  finish(e, "used: its build went on and ended");
}

/// The hook removes a node when its build is over.
void LogicState::taken_by_hook(Executor& e) {
  mark_used(e);
  e.took_item_at = now;
  note_build_ended(e, false);
  finish(e, "used: its node was removed by the controller");
}

void LogicState::node_absent(Executor& e) {
  if (std::exchange(e.was_leaving, false) && e.state() <= ExecutorState::busy)
    return finish(e, e.retiring.value_or("used"));
  switch (e.state()) {
    case ExecutorState::planned:
      return fail(e,
                  e.creation == Executor::Creation::unknown ? "its node was not created"
                                                            : "its node vanished before it was ordered",
                  false);
    case ExecutorState::ordered:
    case ExecutorState::creating:
    case ExecutorState::booting:
    case ExecutorState::joining: {
      if (e.is_resuming) return went_on_and_left(e);
      // The hook removes a node when its build is over, which may be before we saw the node connected.
      const bool was_connected = e.agent == AgentPhase::connected ||
                                 (e.agent == AgentPhase::ended && e.agent_exit_code.value_or(1) == 0);
      const Controller* c = controller_of(e);
      // After a start of this leader: nothing is decided before the controller's profile and the host have
      // told.
      const bool is_heard = c != nullptr && c->profile && e.was_seen_on_host;
      if (e.is_adopted && e.node_session.empty() && !is_heard) return;
      const bool is_restarted = c != nullptr && e.node_session != c->session;
      if (!is_gated(e) && is_restarted && e.agent != AgentPhase::none) {
        // It may have run a build that now waits for its node.
        mark_used(e);
        become_busy(e);
        return lose_node(e);
      }
      if (is_gated(e) || !was_connected) return fail(e, "its node vanished before it joined", true);
      return taken_by_hook(e);
    }
    case ExecutorState::idle: {
      const Controller* c = controller_of(e);
      const bool is_restarted = c != nullptr && e.node_session != c->session;
      const bool was_shut = is_gated(e) && e.gate == Gate::closed;
      if (e.retiring && (was_shut || !is_restarted)) return finish(e, *e.retiring);
      if (!is_gated(e) && !is_restarted) return taken_by_hook(e);
      const bool may_have_run = e.offer || (e.record.was_opened && e.is_adopted) || !was_shut;
      if (!may_have_run) return finish(e, "unused: its node vanished");
      mark_used(e);
      become_busy(e);
      return lose_node(e);
    }
    case ExecutorState::busy: {
      // A node that this leader has never seen may as well be gone because its controller restarted.
      const Controller* c = controller_of(e);
      const bool was_seen = c != nullptr && e.node_session == c->session;
      const bool is_hooks_doing =
          !is_gated(e) && !e.lost_since && was_seen && e.agent_exit_code.value_or(0) == 0;
      if (is_hooks_doing) return build_over(e, "used");
      return lose_node(e);
    }
    case ExecutorState::destroying:
      if (e.delete_acked && e.node_read >= *e.delete_acked) e.is_node_gone = true;
      return;
    default:
      return;
  }
}

void LogicState::note_builds(Executor& e, const NodeFact& node) {
  if (e.state() == ExecutorState::planned) return;
  for (const std::string& build : node.builds) note_build(e, build);
}

void LogicState::node_present(Executor& e) {
  const NodeFact& node = *e.node;
  e.was_left_alone = e.was_leaving = false;
  // Nobody of ours watched it while it stood open.
  if (e.is_adopted && e.gate == Gate::unknown && !node.is_temporarily_offline)
    e.was_found_open = e.was_found_open || node.is_connected || !node.is_idle;
  note_builds(e, node);
  switch (e.state()) {
    case ExecutorState::planned:
      if (e.creation == Executor::Creation::unknown)
        fail(e, "the answer to its node's creation was lost; the node is deleted and the name given up",
             false);
      return;
    case ExecutorState::ordered:
    case ExecutorState::creating:
    case ExecutorState::booting:
    case ExecutorState::joining:
      return look_joined(e);
    case ExecutorState::idle:
      if (is_gated(e) || e.gate != Gate::none) return look_gate(e);
      if (!node.is_idle) {
        mark_used(e);
        become_busy(e);
      }
      return;
    case ExecutorState::held:
      return look_held(e);
    case ExecutorState::busy:
      return look_busy(e, e.node_read);
    case ExecutorState::destroying: {
      const bool is_lingering = node.executor_count == 0;  // a Computer that only waits for a body to end
      if (is_lingering || (e.delete_acked && e.node_read < *e.delete_acked + delete_again_after)) return;
      e.delete_acked.reset();
      e.is_node_gone = false;  // a list from before its creation may have said so
      return;
    }
    default:
      return;
  }
}

void LogicState::sweep_orphans(Controller& c) {
  std::map<std::string, int> sightings;
  auto known = executors.cbegin();
  for (const auto& [name, node] : c.nodes) {
    const bool is_next = known != executors.cend() && known->first.text == name;  // mostly
    while (!is_next && known != executors.cend() && known->first.text < name) ++known;
    if (is_next || (known != executors.cend() && known->first.text == name)) {
      ++known;
      continue;
    }
    const auto parsed = parse_node_name(config.farm, name);
    if (!parsed || parsed->epoch > epoch || name == c.config.sentinel_node) continue;
    const bool is_ours = std::any_of(templates.begin(), templates.end(), [&](const auto& t) {
      return is_template_part(parsed->template_part, t->name);
    });
    const bool is_free = node.is_idle && node.builds.empty();
    if (!is_ours || !is_free) continue;
    // With a sandbox it is closed and looked at before it goes: strays.cpp.
    const bool is_met = std::any_of(hosts.begin(), hosts.end(), [&name = name](const auto& pair) {
      return pair.second.strays_met.contains(ExecutorId(name));
    });
    // Its host may not have told yet, since this leader began, what runs there.
    if (is_met || (node.is_connected && now - led_since < hosts_tell_within)) continue;
    const int seen = c.orphan_sightings[name] + 1;
    sightings[name] = seen;
    Call& call = c.orphan_deletes[name];
    const bool is_tried = call.is_pending() && (now < call.sent + call_limit);
    if (seen < sightings_before_sweep || is_tried) continue;
    call = new_call();
    ++counters.orphans_swept;
    emit(DeleteNode{call.id, c.config.name, name});
    say(Level::warning, "a node of ours that no record knows is deleted",
        {{"node", name}, {"controller", c.config.name.text}});
  }
  c.orphan_sightings = std::move(sightings);
  std::erase_if(c.orphan_deletes, [&](const auto& pair) { return !c.nodes.contains(pair.first); });
}

}  // namespace skep::scheduler
