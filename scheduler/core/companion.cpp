// A controller that tells by itself (docs/design/companion.md): its queue and the news of nodes, as they
// happen. What is read in full stays the truth that they are compared with.
#include <algorithm>

#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration companion_silence = seconds(50);  // it answers each 30 s, also with nothing
constexpr Duration compared_again_after = seconds(2);

}  // namespace

void LogicState::on_companion_told(const CompanionTold& event) {
  Controller* c = controller(event.controller);
  if (c == nullptr || event.started < facts_from || !note_session(*c, event.session, event.started)) return;
  ++counters.companion_answers;
  counters.companion_events += event.events;
  if (now - event.started > companion_silence) {
    // It waited for us, who were stopped: what happened did, but of now it tells nothing. The next one does.
    for (const NodeNews& news : event.nodes) apply_news(*c, news);
    return;
  }
  if (!c->is_told) {
    say(Level::info, "the controller's companion tells; it is not polled any more",
        {{"controller", c->config.name.text}});
    c->is_told = true;
  }
  c->companion_problem.clear();
  c->told_at = now;
  // What happened to nodes before a base was taken is not known.
  if (event.is_base) read_soon(c->nodes_poll);
  note_answered(c->queue_poll, event.started);
  take_queue(*c, event.queue, event.started);
  for (const NodeNews& news : event.nodes) apply_news(*c, news);
}

void LogicState::on_companion_lost(const CompanionLost& event) {
  Controller* c = controller(event.controller);
  if (c != nullptr) lose_companion(*c, event.error.message);
}

void LogicState::lose_companion(Controller& c, const std::string& why) {
  c.companion_problem = why;
  if (!std::exchange(c.is_told, false)) return;
  c.unlike.clear();
  c.read_again_at.reset();
  read_soon(c.queue_poll);
  read_soon(c.nodes_poll);
  say(Level::warning, "the controller's companion does not tell: " + why + "; it is polled until it does",
      {{"controller", c.config.name.text}});
  replan();
}

bool LogicState::is_silent(const Controller& c) const {
  return c.is_told && now >= c.told_at + companion_silence;
}

void LogicState::advance_companion(Controller& c) {
  if (!c.is_told) return;
  if (is_silent(c)) return lose_companion(c, "it was silent for " + duration_to_text(companion_silence));
  wake_at(c.told_at + companion_silence);
  if (!c.read_again_at) return;
  if (now < *c.read_again_at) return wake_at(*c.read_again_at);
  c.read_again_at.reset();
  read_soon(c.queue_poll);
  read_soon(c.nodes_poll);
}

/// A full read beside what was told. Either may be ahead of the other, so an item counts only when two reads
/// in a row differ in it, and in the same way: one that came just before the first and left just before the
/// second was told right. The read brings names and times; which items there are is told.
void LogicState::compare_queue(Controller& c, const QueueSnapshot& read) {
  QueueSnapshot told;
  told.is_quieting_down = read.is_quieting_down;
  std::map<std::int64_t, const QueueItem*> shown;
  for (const QueueItem& item : read.items) shown[item.id] = &item;
  std::map<std::int64_t, bool> unlike;  // whether it was read, and not told
  for (const auto& [id, entry] : c.demand.items()) {
    QueueItem item = entry.item;
    if (const auto found = shown.find(id); found == shown.end()) {
      unlike.emplace(id, false);
    } else {
      const QueueItem& full = *found->second;
      item.name = full.name;
      item.path = full.path;
      item.is_pipeline_block = full.is_pipeline_block;
      item.is_flow = full.is_flow;
      item.is_stopping = full.is_stopping;
      item.in_queue_since = full.in_queue_since;
      item.quiet_until = full.quiet_until;
      item.why = full.why;
      shown.erase(found);
    }
    told.items.push_back(std::move(item));
  }
  for (const auto& [id, item] : shown) unlike.emplace(id, true);
  c.demand.update(told, template_index, now);
  const auto was_unlike = [&c](const auto& now_unlike) {
    const auto before = c.unlike.find(now_unlike.first);
    return before != c.unlike.end() && before->second == now_unlike.second;
  };
  const auto lasting = std::count_if(unlike.begin(), unlike.end(), was_unlike);
  if (lasting > 0) {
    counters.companion_differences += static_cast<std::uint64_t>(lasting);
    say(Level::warning,
        "what the companion told of the queue differs from the queue in " + std::to_string(lasting) +
            " items; it is asked anew for all of it",
        {{"controller", c.config.name.text}}, "companion differs " + c.config.name.text);
    emit(RebaseCompanion{c.config.name});
    unlike.clear();
  } else if (!unlike.empty()) {
    c.read_again_at = now + compared_again_after;
  }
  c.unlike = std::move(unlike);
  replan();
}

void LogicState::apply_news(Controller& c, const NodeNews& news) {
  using Kind = NodeNews::Kind;
  ++counters.companion_news;
  Executor* e = find(ExecutorId(news.node));
  if (e == nullptr || e->of != &c) {
    // Somebody else's node: what it may take counts. The list is long where such news are many.
    const bool is_other = news.kind != Kind::accepted && news.kind != Kind::continues;
    if (is_other && news.node != c.config.sentinel_node) read_within(c.nodes_poll, c.config.poll_interval);
    return;
  }
  // What is not known to be of this session's node is a reason to look.
  if (e->node_session != c.session || e->create.is_pending() || is_gated(*e)) return look_at_news(*e);
  switch (news.kind) {
    case Kind::online:
      return note_online(*e);
    case Kind::accepted:
      return note_accepted(*e, news.path);
    case Kind::completed:
      return note_completed(*e, news.path);
    case Kind::offline:
    case Kind::opened:
    case Kind::closed:
      return look_at_news(*e);
    case Kind::continues:
      return;  // its block waits for it after the restart
  }
}

void LogicState::look_at_news(Executor& e) {
  if (e.state() < ExecutorState::finished) look_soon(e, Duration::zero());
}

/// As a look at its node would have shown it.
NodeFact LogicState::fact_by_news(const Executor& e) const {
  NodeFact fact = e.node.value_or(NodeFact{});
  fact.name = e.id().text;
  fact.is_connected = true;
  fact.is_offline = fact.is_temporarily_offline;
  return fact;
}

void LogicState::note_online(Executor& e) {
  // The queue that was told with it may be ahead: that the block of one that is called back left it means
  // nothing.
  if (e.state() >= ExecutorState::finished || e.is_resuming) return;
  const NodeFact fact = fact_by_news(e);
  apply_node(e, &fact, {now, false});
}

void LogicState::note_accepted(Executor& e, const std::string& path) {
  if (e.state() >= ExecutorState::finished) return;
  const auto& seen = e.record.builds_seen;
  if (e.is_resuming && std::find(seen.begin(), seen.end(), path) != seen.end()) return note_build(e, path);
  NodeFact fact = fact_by_news(e);
  fact.is_idle = false;
  apply_node(e, &fact, {now, false});
  e.took_item_at.reset();  // that its item left was told before
}

/// The controller removes the node by itself.
void LogicState::note_completed(Executor& e, const std::string& path) {
  if (e.state() >= ExecutorState::finished || e.lost_since) return;
  if (!path.empty()) note_build(e, path);
  if (e.state() == ExecutorState::busy) return build_over(e, "used");
  taken_by_hook(e);
}

}  // namespace skep::scheduler
