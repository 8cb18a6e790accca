// Skep's own companion scripts (scheduler/companion), recognised by their first line: what they do is known,
// so nothing else in them is looked at but the marker label and the numbers. Behaviour: recordings 16 and 23,
// and what was added since (docs/design/companion.md).
#include <algorithm>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

constexpr std::string_view queue_class = "SkepQueueV1", executors_class = "SkepExecutorsV1";
constexpr const char* script_type = "text/plain;charset=utf-8";

/// Of any version, with the number at its end: "SkepExecutorsV", "SkepOneBuildV".
bool has_class(const Hook& hook, std::string_view stem) {
  return hook.class_name.starts_with(stem);
}

std::uint64_t number_after(const std::string& script, std::string_view before) {
  const std::size_t at = script.find(before);
  std::uint64_t value = 0;
  for (std::size_t i = at + before.size(); at != std::string::npos && i < script.size(); ++i) {
    if (script[i] < '0' || script[i] > '9') break;
    value = value * 10 + static_cast<std::uint64_t>(script[i] - '0');
  }
  return value;
}

}  // namespace

std::string own_script_verb(const std::string& script) {
  constexpr std::string_view first = "// skep-companion 1 ";
  if (!script.starts_with(first)) return {};
  return script.substr(first.size(), script.find('\n') - first.size());
}

std::string State::shown_label(const Item& item) {
  return any_node_item(item) ? "" : label(item.label).expression.expression();
}

std::string State::fresh_boot(std::string_view name) {
  const std::string hex = digest64(random.next(), "boot", std::string(name));
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-4" + hex.substr(12, 3) + "-8" + hex.substr(15, 3) +
         "-" + hex.substr(18, 12);
}

std::string State::companion_items() {
  std::string out;
  for (const std::int64_t id : visible_items()) {
    const Item& item = items.at(id);
    const char* state = item.state == ItemState::buildable || item.state == ItemState::pending ? "buildable"
                        : item.state == ItemState::blocked                                     ? "blocked"
                                                                                               : "waiting";
    out += std::to_string(id) + " " + state + " " + shown_label(item) + "\n";
  }
  return out;
}

/// What stands in a first line after the boot id, and the events from a number on.
std::string State::companion_events(std::uint64_t from, bool is_own) const {
  const std::uint64_t first = companion->next - companion->ring.size();
  std::string out = companion->greeting + " " + companion->boot + " " + std::to_string(first) + " " +
                    std::to_string(companion->next) + (is_own && quieting_down ? " quiet" : "") + "\n";
  for (std::size_t i = from > first ? static_cast<std::size_t>(from - first) : 0; i < companion->ring.size();
       ++i) {
    out += companion->ring[i] + "\n";
  }
  return out;
}

bool State::has_own_companion() const {
  return companion && companion->class_name == queue_class;
}

std::string State::install_own_companion(const std::string& marker) {
  const bool is_whole = has_own_companion() && std::any_of(hooks.begin(), hooks.end(), [](const Hook& hook) {
                          return hook.class_name == executors_class;
                        });
  if (!is_whole) {
    companion = Companion{std::string(queue_class), "skep-companion 1", fresh_boot(queue_class), {}, 1};
  }
  std::erase_if(hooks, [&](const Hook& hook) {
    const bool is_current = is_whole && hook.class_name == executors_class;
    return !is_current && has_class(hook, "SkepExecutorsV");
  });
  if (!is_whole) hooks.push_back({std::string(executors_class), marker, true, true});
  return companion->greeting + " " + companion->boot + " " + std::to_string(companion->next) +
         (quieting_down ? " quiet" : "") + "\n" + companion_items() + "end " +
         std::to_string(visible_items().size()) + "\n";
}

HttpReply State::wait_for_own_companion(std::uint64_t from, Duration wait) {
  if (!has_own_companion()) return plain(200, script_type, "skep-companion absent\n");
  if (companion->next != from || wait <= Duration::zero())
    return plain(200, script_type, companion_events(from, true));
  ParkedReply waiter;
  waiter.id = next_parked++;
  waiter.from = from;
  waiter.until = clock + wait;
  waiter.is_own = true;
  parked.push_back(waiter);
  at(waiter.until, {EventKind::end_of_wait, waiter.id});
  HttpReply reply;
  reply.parked = waiter.id;
  return reply;
}

/// Who waits keeps the listeners that it found: it hears nothing more, and answers when its time is over.
std::string State::remove_own_companion() {
  for (ParkedReply& waiter : parked) {
    if (waiter.is_own && companion) waiter.last_words = companion_events(companion->next, true);
  }
  companion.reset();
  std::erase_if(hooks, [](const Hook& hook) { return has_class(hook, "SkepExecutorsV"); });
  return "skep-companion removed\n";
}

HttpReply State::run_own_script(const std::string& verb, const std::string& script) {
  if (verb == "install") return plain(200, script_type, install_own_companion(marker_label(script)));
  if (verb == "remove") return plain(200, script_type, remove_own_companion());
  const auto wait = milliseconds(static_cast<std::int64_t>(number_after(script, "millis = ")));
  return wait_for_own_companion(number_after(script, "from = "), wait);
}

/// What befalls a companion; `value`: how many events are kept.
void State::befall_companion(FaultKind kind, std::int64_t value) {
  if (kind == FaultKind::companion_absent) {
    companion.reset();
    std::erase_if(hooks, [](const Hook& hook) { return has_class(hook, "SkepExecutorsV"); });
  } else if (kind == FaultKind::companion_overflow && companion) {
    const auto kept = static_cast<std::size_t>(std::max<std::int64_t>(0, value));
    while (companion->ring.size() > kept) companion->ring.pop_front();
  } else if (kind == FaultKind::companion_other_version) {
    std::erase_if(hooks, [](const Hook& hook) { return has_class(hook, "SkepExecutorsV"); });
    companion = Companion{"SkepQueueV0", "skep-companion 0", fresh_boot("SkepQueueV0"), {}, 1};
    hooks.push_back({"SkepExecutorsV0", "skep-one-build", true, false});
  }
}

}  // namespace skep::controller_sim
