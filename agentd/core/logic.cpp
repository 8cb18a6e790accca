#include "agentd/core/logic.h"

#include <algorithm>
#include <array>
#include <utility>

#include "agentd/core/state.h"

namespace skep::agentd {
namespace {

constexpr std::array<std::pair<IntentState, std::string_view>, 5> intent_names{
    {{IntentState::creating, "creating"},
     {IntentState::running, "running"},
     {IntentState::failed, "failed"},
     {IntentState::destroying, "destroying"},
     {IntentState::gone, "gone"}}};
const ExecutorId no_executor;

}  // namespace

std::string_view to_string(IntentState state) {
  return intent_names[static_cast<std::size_t>(state)].second;
}

std::optional<IntentState> intent_state_from(std::string_view text) {
  for (const auto& [state, name] : intent_names) {
    if (name == text) return state;
  }
  return std::nullopt;
}

const ExecutorId& executor_of(const Action& action) {
  if (const auto* record = std::get_if<RecordIntent>(&action)) return record->record.spec.id;
  if (const auto* forget = std::get_if<ForgetIntent>(&action)) return forget->id;
  if (const auto* call = std::get_if<CallDriver>(&action)) return call->id;
  if (const auto* reply = std::get_if<Reply>(&action)) return reply->about;
  return no_executor;
}

const char* verb_name(const Verb& verb) {
  constexpr std::array<const char*, std::variant_size_v<Verb>> names{
      "probe", "list", "start", "inspect", "recover", "stop", "destroy", "deliver_ticket"};
  return names[verb.index()];
}

AgentdLogic::State::State(LogicConfig c) : config(std::move(c)) {
  report.host = config.host;
  report.version = config.version;
  report.os = config.os;
  report.arch = config.arch;
  report.attributes = config.attributes;
  report.capacity = config.capacity;
  report.max_executors = config.max_executors;
}

AgentdLogic::AgentdLogic(LogicConfig config) : state_(std::make_unique<State>(std::move(config))) {}
AgentdLogic::~AgentdLogic() = default;
AgentdLogic::AgentdLogic(AgentdLogic&&) noexcept = default;
AgentdLogic& AgentdLogic::operator=(AgentdLogic&&) noexcept = default;

std::vector<Action> AgentdLogic::handle(const Event& event, Instant now, WallTime wall) {
  State& state = *state_;
  SKEP_ASSERT(now >= state.now || state.batch == 0);
  if (state.batch == 0) state.born = now;
  state.now = now;
  state.wall = wall;
  ++state.batch;
  state.out.clear();
  const bool is_failed_record =
      std::holds_alternative<StateNotRecorded>(event) || std::holds_alternative<IntentNotRecorded>(event);
  if (!is_failed_record) state.drain_request.reset();
  std::visit([&state](const auto& e) { state.on(e); }, event);
  state.advance_all();
  state.refresh_report();
  state.end_event();
  return std::exchange(state.out, {});
}

std::optional<Instant> AgentdLogic::next_deadline() const {
  const State& state = *state_;
  std::optional<Instant> earliest;
  const auto consider = [&earliest](std::optional<Instant> when) {
    if (when && (!earliest || *when < *earliest)) earliest = when;
  };
  if (state.is_epoch_due || state.is_drain_due) consider(state.state_retry_at);
  if (!state.tombstone_ends.empty()) consider(state.tombstone_ends.begin()->first);
  if (state.has_unrecorded_tombstone) consider(state.state_retry_at);
  if (!state.by_due.empty()) consider((*state.by_due.begin())->indexed_due);
  if (state.on_stop == OnStop::keep) return earliest;
  for (const auto& [name, row] : state.drivers) {
    if (row.probe_call == 0) consider(row.next_probe);
    if (row.list_call == 0) consider(row.next_list);
  }
  return earliest;
}

const HostReport& AgentdLogic::report() const {
  return state_->report;
}
const Counters& AgentdLogic::counters() const {
  return state_->counters;
}

bool AgentdLogic::is_consistent() const {
  return state_->is_consistent();
}

bool AgentdLogic::is_ready_to_end() const {
  const State& state = *state_;
  if (!state.on_stop) return false;
  const auto is_calling = [](const auto& entry) { return entry.second.call != 0; };
  if (*state.on_stop == OnStop::keep)
    return std::none_of(state.executors.begin(), state.executors.end(), is_calling);
  const auto is_listed = [](const auto& entry) {
    return entry.second.is_listed && entry.second.list_call == 0;
  };
  return state.executors.empty() && std::all_of(state.drivers.begin(), state.drivers.end(), is_listed);
}

}  // namespace skep::agentd
