#include "tests/controller_sim/shell/load.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace skep::controller_sim {
namespace {

constexpr int most_changes_at_once = 1000;

}  // namespace

Load::Load(LoadSpec spec, const ControllerModel& model, Instant now)
    : spec_(std::move(spec)), began_(now), first_event_(model.companion_events()) {}

void Load::step(ControllerModel& model, Instant now) {
  if (is_over_) return;
  const Duration since = std::min(now - began_, spec_.length);
  const auto due = [since](std::int64_t per_second) { return per_second * to_ms(since) / 1000; };
  while (!spec_.nodes.empty() && node_events_ < due(spec_.node_events_per_second)) change_node(model, now);
  // An item becomes buildable a moment after it came, so the next step makes up for what this one cannot see.
  const auto told = [&] { return static_cast<std::int64_t>(model.companion_events() - first_event_); };
  for (int changes = 0; told() < due(spec_.events_per_second) && changes < most_changes_at_once; ++changes)
    change_item(model, now);
  is_over_ = since >= spec_.length;
  for (; is_over_ && !standing_.empty(); standing_.pop_front()) model.cancel_item(standing_.front(), now);
}

void Load::change_item(ControllerModel& model, Instant now) {
  if (standing_.size() >= spec_.standing && !standing_.empty()) {
    model.cancel_item(standing_.front(), now);
    standing_.pop_front();
  }
  const std::string& job = spec_.jobs[scheduled_++ % spec_.jobs.size()];
  // Equal items fold into one.
  if (const auto id = model.schedule(job, now, {{"LOAD", std::to_string(scheduled_)}}))
    standing_.push_back(*id);
}

void Load::change_node(ControllerModel& model, Instant now) {
  const auto at = static_cast<std::size_t>(node_events_++);
  const bool closes = at / spec_.nodes.size() % 2 == 0;
  model.set_offline_by_hand(spec_.nodes[at % spec_.nodes.size()],
                            closes ? std::optional<std::string>("load") : std::nullopt, now);
}

}  // namespace skep::controller_sim
