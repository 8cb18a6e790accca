#include "scheduler/core/logic.h"

#include <algorithm>
#include <type_traits>

#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr std::size_t max_said = 10'000;
constexpr int max_rounds = 64;  // of settling within one event; the rest is done at the next wake-up, at once

}  // namespace

LogicState::LogicState(SchedulerConfig given, Prng given_prng) : config(std::move(given)), prng(given_prng) {
  load_config();
}

void LogicState::wake_at(Instant when) {
  if (!extra_wake_ || when < *extra_wake_) extra_wake_ = when;
}

void LogicState::say(Level level, std::string message,
                     std::vector<std::pair<std::string, std::string>> fields, std::string once_key) {
  if (!once_key.empty()) {
    const auto last = said_.find(once_key);
    if (last != said_.end() && now - last->second < minutes(1)) return;
    if (said_.size() >= max_said) said_.clear();
    said_[once_key] = now;
  }
  emit(Explain{level, std::move(message), std::move(fields), std::move(once_key)});
}

void LogicState::fence(Epoch epoch_seen, const std::string& where) {
  if (!fenced_by.empty()) return;
  fenced_by = "another leader with epoch " + std::to_string(epoch_seen) + " was seen by " + where +
              "; ours is " + std::to_string(epoch);
  say(Level::error, fenced_by + "; this scheduler stops acting",
      {{"epoch", std::to_string(epoch)}, {"epoch_seen", std::to_string(epoch_seen)}});
}

void LogicState::route(const Event& event) {
  std::visit(
      [this](const auto& e) {
        using T = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<T, LeaderStarted>)
          on_leader_started(e);
        else if constexpr (std::is_same_v<T, ConfigChanged>)
          on_config(e);
        else if constexpr (std::is_same_v<T, ControllerProfiled>)
          on_profiled(e);
        else if constexpr (std::is_same_v<T, QueueRead>)
          on_queue_read(e);
        else if constexpr (std::is_same_v<T, CompanionTold>)
          on_companion_told(e);
        else if constexpr (std::is_same_v<T, CompanionLost>)
          on_companion_lost(e);
        else if constexpr (std::is_same_v<T, NodesRead>)
          on_nodes_read(e);
        else if constexpr (std::is_same_v<T, NodePolled>)
          on_node_polled(e);
        else if constexpr (std::is_same_v<T, NodeCreated>)
          on_node_created(e);
        else if constexpr (std::is_same_v<T, GateClosed>)
          on_gate_closed(e);
        else if constexpr (std::is_same_v<T, GateOpened>)
          on_gate_opened(e);
        else if constexpr (std::is_same_v<T, Kicked>)
          on_kicked(e);
        else if constexpr (std::is_same_v<T, NodeDeleted>)
          on_node_deleted(e);
        else if constexpr (std::is_same_v<T, HostReported>)
          on_host_reported(e);
        else if constexpr (std::is_same_v<T, HostUnseen>)
          on_host_unseen(e);
        else if constexpr (std::is_same_v<T, HostDeparted>)
          on_host_departed(e);
        else if constexpr (std::is_same_v<T, ExecutorOrdered>)
          on_executor_ordered(e);
        else if constexpr (std::is_same_v<T, ExecutorDestroyed>)
          on_executor_destroyed(e);
        else if constexpr (std::is_same_v<T, LeasesRenewed>)
          on_leases_renewed(e);
        else if constexpr (std::is_same_v<T, DrainHost>)
          on_drain(e);
        else if constexpr (std::is_same_v<T, UndrainHost>)
          on_undrain(e);
        else if constexpr (std::is_same_v<T, HoldExecutor>)
          on_hold(e);
        else if constexpr (std::is_same_v<T, RetireExecutor>)
          on_retire(e);
        else if constexpr (std::is_same_v<T, ForgetHost>)
          on_forget(e);
        else if constexpr (std::is_same_v<T, RollOutImage>)
          on_roll_out(e);
        else if constexpr (std::is_same_v<T, RollBackImage>)
          on_roll_back(e);
        else if constexpr (std::is_same_v<T, ImagePulled>)
          on_image_pulled(e);
        else if constexpr (std::is_same_v<T, PauseLaunching>) {
          is_paused = true;
          pause_reason = e.reason;
          emit(RecordPause{true, e.reason});
          replan();
        } else if constexpr (std::is_same_v<T, ResumeLaunching>) {
          is_paused = false;
          pause_reason.clear();
          emit(RecordPause{false, {}});
          replan();
        } else {
          static_assert(std::is_same_v<T, Tick>, "every event is routed");
        }
      },
      event);
}

void LogicState::settle() {
  for (int round = 0; round < max_rounds; ++round) {
    while (!wakes_.empty() && *(*wakes_.begin())->wake <= now) {
      Executor& e = **wakes_.begin();
      wakes_.erase(wakes_.begin());
      e.wake.reset();
      touch(e);
    }
    if (plan_wake_ && *plan_wake_ <= now) is_plan_due_ = true;
    if (dirty_.empty() && !is_plan_due_) break;
    std::vector<Executor*> batch = std::exchange(dirty_, {});
    const auto is_before = [](const Executor* a, const Executor* b) { return a->id() < b->id(); };
    if (!std::is_sorted(batch.begin(), batch.end(), is_before))
      std::sort(batch.begin(), batch.end(), is_before);
    for (Executor* e : batch) e->is_dirty = false;
    for (Executor* e : batch) advance(*e);  // none of them removes another one
    if (dirty_.empty() && is_plan_due_) {
      plan_wake_.reset();
      plan();
      is_plan_due_ = false;  // what it launched itself is in it already
    }
  }
  advance_controllers();
  advance_hosts();
  advance_images();
}

void LogicState::find_deadline() {
  deadline_ = extra_wake_;
  const auto sooner = [this](Instant when) {
    if (!deadline_ || when < *deadline_) deadline_ = when;
  };
  if (!wakes_.empty()) sooner(*(*wakes_.begin())->wake);
  if (plan_wake_) sooner(*plan_wake_);
  if (!dirty_.empty() || is_plan_due_) sooner(now);
}

std::vector<Action> LogicState::handle(const Event& event, Instant at, WallTime wall_at) {
  if (epoch != 0) note_suspension(at, wall_at);
  now = std::max(now, at);
  wall = wall_at;
  extra_wake_.reset();
  const bool is_asleep = epoch == 0 && !std::holds_alternative<LeaderStarted>(event) &&
                         !std::holds_alternative<ConfigChanged>(event);
  if (is_asleep) return {};  // records come first: without them every executor would look like a stray
  route(event);
  if (epoch != 0 && fenced_by.empty()) settle();
  find_deadline();
  std::vector<Action> actions = std::exchange(out_, {});
  if (!fenced_by.empty()) {
    deadline_.reset();
    std::erase_if(actions, [](const Action& action) { return !std::holds_alternative<Explain>(action); });
  }
  return actions;
}

SchedulerLogic::SchedulerLogic(SchedulerConfig config, Prng prng)
    : state_(std::make_unique<State>(std::move(config), prng)) {}
SchedulerLogic::~SchedulerLogic() = default;
SchedulerLogic::SchedulerLogic(SchedulerLogic&&) noexcept = default;
SchedulerLogic& SchedulerLogic::operator=(SchedulerLogic&&) noexcept = default;

std::vector<Action> SchedulerLogic::handle(const Event& event, Instant now, WallTime wall) {
  return state_->handle(event, now, wall);
}
std::optional<Instant> SchedulerLogic::next_deadline() const {
  return state_->next_deadline();
}
StatusSnapshot SchedulerLogic::status(Instant now, WallTime wall) const {
  return state_->status(now, wall);
}
int SchedulerLogic::executors_retired_by(const SchedulerConfig& next) const {
  return state_->retired_by(next);
}
bool SchedulerLogic::may_depart(const HostId& host) const {
  return state_->may_depart(host);
}
Result<void> SchedulerLogic::may_hold(const ExecutorId& executor) const {
  return state_->may_hold(executor);
}
Result<std::vector<ExecutorId>> SchedulerLogic::given_up_with(const HostId& host, Instant now) const {
  return state_->given_up_with(host, now);
}

Result<ImageStatus> SchedulerLogic::rolled_out(const RolloutOrder& order, WallTime wall) const {
  auto image = state_->rolled_out(order, wall);
  if (!image) return image.error();
  return state_->image_status(*image);
}
Result<ImageStatus> SchedulerLogic::rolled_back(const std::string& name, WallTime wall) const {
  auto image = state_->rolled_back(name, wall);
  if (!image) return image.error();
  return state_->image_status(*image);
}

std::optional<Explanation> SchedulerLogic::explain(const ControllerId& controller, std::int64_t item,
                                                   Instant now, WallTime wall) const {
  const Controller* c = state_->controller(controller);
  if (c == nullptr) return std::nullopt;
  const DemandBook::Entry* entry = c->demand.find(item);
  if (entry == nullptr) return std::nullopt;
  return state_->explain_item(*c, *entry, {now, wall, state_->find_unseen()});
}

}  // namespace skep::scheduler
