// A host that is gone for good, on an operator's word: what is on record there leaves as though it had been
// seen gone. Nothing else may say so: a host that is silent may live, and its builds with it.
#include <algorithm>

#include "core/lifecycle/lifecycle.h"
#include "core/resources.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

// A host that starts again is silent, too, and one may not have announced itself to a new leader yet.
constexpr Duration least_silence = minutes(1);
constexpr std::size_t most_named = 5;

std::string names_of(const std::vector<ExecutorId>& executors) {
  std::string text;
  for (std::size_t i = 0; i < std::min(executors.size(), most_named); ++i)
    text += (text.empty() ? "" : ", ") + executors[i].text;
  if (executors.size() > most_named)
    text += " and " + std::to_string(executors.size() - most_named) + " more";
  return text;
}

std::string executors_count(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " executor" : " executors");
}

Error refused(std::string message, std::string hint) {
  return Error::failed(ErrorCode::conflict, std::move(message) + "; nothing was given up", std::move(hint));
}

bool is_agent_connected(const Executor& e) {
  return e.is_node_known && e.node && e.node->is_connected;
}

}  // namespace

bool LogicState::is_in_farm(const HostPlace& place) const {
  return place.host != nullptr ||
         std::any_of(place.executors.begin(), place.executors.end(), [](const auto& pair) {
           return !pair.second->is_gone_on_host && pair.second->state() != ExecutorState::gone;
         });
}

/// Whether an agent is connected cannot be told: a connected one proves that the host or a sandbox lives.
std::optional<std::string> LogicState::why_agent_unknown(const Executor& e) const {
  const Controller* c = controller_of(e);
  if (c == nullptr) return std::nullopt;  // nobody but the operator can tell
  if (!is_known(*c)) {
    const std::string reason = freeze_reason(*c);
    return "controller " + c->config.name.text + " cannot tell whether the agent of " + e.id().text +
           " is connected" + (reason.empty() ? "" : ": " + reason);
  }
  const bool may_have_agent = e.record.node_created && e.creation == Executor::Creation::done;
  if (!may_have_agent || e.is_node_known) return std::nullopt;
  return "the node of " + e.id().text + " has not been seen yet on controller " + c->config.name.text;
}

Result<std::vector<ExecutorId>> LogicState::given_up_with(const HostId& id, Instant at) const {
  const std::string host = "host " + id.text;
  if (epoch == 0 || !fenced_by.empty())
    return refused("this scheduler does not lead", "say it to the scheduler that leads");
  const auto place = places.find(id);
  if (place == places.end() || !is_in_farm(place->second))
    return Error::failed(ErrorCode::not_found, "no host is called " + id.text, "see skep hosts");
  const std::string drain = "skep drain " + id.text;
  if (is_host_known(id)) return refused(host + " answers", "drain it instead: " + drain);
  const Host* seen = place->second.host;
  const Duration silence = at - (seen != nullptr ? seen->seen : led_since);
  if (silence < least_silence) {
    const std::string again = "try again in " + duration_to_text(least_silence - silence);
    return refused(seen != nullptr ? host + " answered " + duration_to_text(silence) + " ago"
                                   : "this scheduler leads for " + duration_to_text(silence) + ", and " +
                                         host + " may not have announced itself yet",
                   again + "; to keep new work away from it: " + drain);
  }
  std::vector<ExecutorId> given_up, connected;
  for (const auto& [name, e] : place->second.executors) {
    if (e->is_gone_on_host || e->state() == ExecutorState::gone) continue;
    if (const auto unknown = why_agent_unknown(*e))
      return refused(*unknown, "try again when skep status shows that the controller is read");
    (is_agent_connected(*e) ? connected : given_up).push_back(name);
  }
  if (connected.empty()) return given_up;
  return refused(host + " or its sandboxes live: the agents of " + names_of(connected) + " are connected",
                 "drain it instead: " + drain +
                     "; if it is gone for good its agents are disconnected within minutes, try again then");
}

void LogicState::on_forget(const ForgetHost& event) {
  const auto given_up = given_up_with(event.host, now);
  if (!given_up)
    return say(Level::warning, "a host is not forgotten: " + given_up.error().message,
               {{"host", event.host.text}, {"hint", given_up.error().hint}});
  std::string why = "its host was given up by an operator";
  if (!event.reason.empty()) why += ": " + event.reason;
  // The word is on record as a whole before anything follows from it: a leader that starts anew goes on.
  for (const ExecutorId& id : *given_up) {
    Executor& e = *find(id);
    e.record.given_up = why;
    record(e);
  }
  if (drains.erase(event.host) > 0) emit(RecordDrain{event.host, {}, false});
  for (const ExecutorId& id : *given_up) give_up_sandbox(*find(id));
  drop_host(event.host);
  say(Level::warning,
      "a host is forgotten, an operator says that it is gone for good; " + executors_count(given_up->size()) +
          " there are given up, and their nodes are deleted",
      {{"host", event.host.text}, {"reason", event.reason}});
}

/// What is on its way to its end goes on there, anything else ends; its sandbox counts as seen gone.
void LogicState::give_up_sandbox(Executor& e) {
  e.is_gone_on_host = true;
  e.held_until.reset();
  e.record.held_until.reset();
  changed(*e.at);
  touch(e);
  replan();
  const std::string end = "retired: " + e.record.given_up;
  if (e.end.empty()) {
    e.end = end;
  } else if (!e.end.ends_with(e.record.given_up)) {
    e.end += "; " + e.record.given_up;
  }
  if (e.state() == ExecutorState::busy) return build_over(e, end);
  finish(e, end);
}

/// An operator gave it up, and here it is. It leaves as any other; where its record has ended, as a stray.
void LogicState::meet_given_up(Host& host, Executor& e, const ExecutorReport& report) {
  if (!e.is_gone_on_host || report.state == ExecutorState::gone) return;
  if (e.state() == ExecutorState::gone) {
    host.foreign_use += report.resources;
    ++host.foreign_count;
    return destroy_stray(host, report);
  }
  e.is_gone_on_host = false;
  e.was_ordered = e.was_seen_on_host = true;
  e.destroy_acked.reset();
  e.destroy_retry.reset();
  changed(*e.at);
  touch(e);
}

}  // namespace skep::scheduler
