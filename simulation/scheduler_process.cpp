#include "simulation/scheduler_process.h"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <utility>

#include "simulation/world.h"

namespace skep::simulation {
namespace {

using namespace scheduler;

constexpr Duration keep_lock_every = seconds(5);
constexpr Duration restart_after = seconds(5);  // of a process that ended by itself

bool is_record(const Action& action) {
  return std::holds_alternative<RecordExecutor>(action) || std::holds_alternative<ForgetExecutor>(action) ||
         std::holds_alternative<RecordDrain>(action) || std::holds_alternative<RecordPause>(action) ||
         std::holds_alternative<RecordImage>(action);
}

}  // namespace

SchedulerProcess::SchedulerProcess(World& world, int number, SchedulerConfig chosen, Prng random)
    : config(std::move(chosen)), world_(world), number_(number), random_(random) {
  controller_link.there_and_back = world.plan.call_controller;
  registry_link.there_and_back = {milliseconds(1), milliseconds(3)};
}

// --- life and death

void SchedulerProcess::start() {
  if (is_up_) return;
  is_up_ = true;
  ++life_;
  world_.note("scheduler " + std::to_string(number_) + " starts");
  if (world_.has_leader_lock) {
    keep_lock();
  } else {
    lead();
  }
}

void SchedulerProcess::kill(Duration down) {
  if (!is_up_) return;
  world_.note("scheduler " + std::to_string(number_) + " ends");
  is_up_ = is_stalled_ = false;
  behind_ = Duration::zero();
  ++life_;
  logic.reset();
  calls_.reset();
  crash_after = stall_after = -1;
  timer_.reset();
  actions_.clear();
  held_back_.clear();
  lines_.clear();
  stale_queue_.reset();
  stale_nodes_.reset();
  companion_wait_.reset();
  world_.later(down, [this] { start(); });
}

Instant SchedulerProcess::own_time() const {
  return world_.now - behind_;
}

void SchedulerProcess::suspend(Duration length) {
  if (!is_up_ || is_stalled_) return;
  world_.later(length, [this, life = life_, length] {
    if (life == life_) behind_ += length;
  });
  stall(length);
}

void SchedulerProcess::stall(Duration length) {
  if (!is_up_ || is_stalled_) return;
  world_.note("scheduler " + std::to_string(number_) + " is stopped");
  is_stalled_ = true;
  world_.later(length, [this, life = life_] {
    if (life == life_) resume();
  });
}

/// What was under way goes on at once: nobody knows yet that time has passed.
void SchedulerProcess::resume() {
  world_.note("scheduler " + std::to_string(number_) + " goes on");
  is_stalled_ = false;
  const int life = life_;
  run();
  auto held = std::exchange(held_back_, {});
  while (!held.empty() && life == life_ && !is_stalled_) {
    Task what = std::move(held.front());
    held.pop_front();
    what();
  }
  if (life != life_) return;
  held_back_.insert(held_back_.begin(), std::make_move_iterator(held.begin()),
                    std::make_move_iterator(held.end()));
  if (!is_stalled_ && logic) set_timer();
}

void SchedulerProcess::post(int life, Event event) {
  in_life(life, [this, event = std::move(event)] { handle(event); });
}

/// True: the process does not come to its next action.
bool SchedulerProcess::stops_now() {
  if (has_lost_lock()) {
    kill(restart_after);
    return true;
  }
  if (stall_after >= 0 && stall_after-- == 0) is_next_suspended ? suspend(next_stall) : stall(next_stall);
  if (is_stalled_) return true;
  if (crash_after < 0 || crash_after-- > 0) return false;
  kill(next_down);
  return true;
}

// --- leadership

void SchedulerProcess::lead() {
  const std::string* last = meta.find("epoch");
  const Epoch led_before = last != nullptr ? std::stoull(*last) : 0;
  epoch = led_before + 1;
  if (world_.has_leader_lock) {
    if (world_.registry.is_away || registry_link.is_request_cut) return kill(restart_after);
    epoch = world_.registry.claim_epoch(epoch);
  } else {
    world_.registry = Registry{};  // embedded: hosts announce themselves again
  }
  if (!meta.apply({{"epoch", std::to_string(epoch)}})) return kill(restart_after);
  LeaderStarted started;
  started.epoch = epoch;
  started.led_before = led_before;
  is_older_ = is_next_older;
  for (const auto& [id, record] : records.records()) started.executors.push_back(known(record));
  for (const auto& [host, reason] : drains.records()) started.drains.push_back({HostId(host), reason});
  for (const auto& [name, image] : images.records()) started.images.push_back(image);
  if (const std::string* reason = meta.find("pause")) {
    started.is_paused = true;
    started.pause_reason = *reason;
  }
  logic = std::make_unique<SchedulerLogic>(config, random_.fork("life " + std::to_string(life_)));
  calls_ = std::make_shared<Calls>(world_.controller, config.controllers.front(), config.farm, "skep");
  world_.note("scheduler " + std::to_string(number_) + " leads with epoch " + std::to_string(epoch));
  seen_ = {};
  handle(std::move(started));
  follow_registry();
  companion_retry_ = Duration::zero();
  follow_companion();
}

/// What was appended to records is unknown to the version before: it neither reads nor keeps it. (`held_for`
/// is not among it: a hold that lost it may last for longer, as an operator is told.)
ExecutorRecord SchedulerProcess::known(ExecutorRecord record) const {
  if (!is_older_) return record;
  if (record.served || !record.given_up.empty())
    world_.note("seen: an older scheduler does not know a field");
  record.served.reset();
  record.given_up.clear();
  return record;
}

/// A third of the time between two passes of the check is waited in between, and the loss is noticed before
/// anybody else can lead.
void SchedulerProcess::keep_lock() {
  const int life = life_;
  const bool is_cut = registry_link.is_request_cut || registry_link.is_reply_cut || world_.draws(exhausted);
  if (!logic) {
    if (!registry_link.is_request_cut && world_.registry.try_acquire(number_, world_.now)) {
      if (registry_link.is_reply_cut) return kill(restart_after);  // it holds the lock and does not know
      lock_passed_ = own_time();
      lead();
    }
  } else if (own_time() > lock_passed_ + Registry::lock_ttl) {
    return kill(restart_after);
  } else if (own_time() >= lock_passed_ + keep_lock_every && !is_cut) {
    const auto kept = world_.registry.keep(number_, world_.now);
    if (!kept) return kill(restart_after);
    if (*kept) lock_passed_ = own_time();
  }
  if (life != life_) return;
  world_.later(seconds(1), [this, life] { in_life(life, [this] { keep_lock(); }); });
}

/// As the daemon asks its lock before each event and action: after a long stop it must not act on what it
/// knew.
bool SchedulerProcess::has_lost_lock() const {
  return world_.has_leader_lock && logic != nullptr && own_time() > lock_passed_ + Registry::lock_ttl;
}

void SchedulerProcess::reload(SchedulerConfig next) {
  if (!logic || is_stalled_) return;
  config = std::move(next);
  handle(ConfigChanged{config});
}

/// As Daemon::forget_host.
std::optional<std::vector<ExecutorId>> SchedulerProcess::given_up_with(const HostId& host) const {
  if (!logic || is_stalled_ || has_lost_lock()) return std::nullopt;
  const auto listed = seen_.hosts.find(host);
  const bool is_announced = listed != seen_.hosts.end() && !listed->second;
  auto given_up = logic->given_up_with(host, own_time());
  if (is_announced || !given_up) return std::nullopt;
  return std::move(*given_up);
}

// --- the strand

void SchedulerProcess::handle(const Event& event) {
  if (!logic) return;
  if (is_stalled_) return held_back_.push_back([this, life = life_, event] { post(life, event); });
  if (has_lost_lock()) return kill(restart_after);
  ++world_.events;
  world_.digest.add(event.index());
  world_.inspector->on_scheduler_event(world_, number_, event);
  for (Action& action : logic->handle(event, own_time(), world_.wall(wall_offset))) {
    actions_.push_back(std::move(action));
  }
  run();
  if (logic && !is_stalled_) set_timer();
}

void SchedulerProcess::set_timer() {
  const auto deadline = logic->next_deadline();
  if (!deadline || (timer_ && *timer_ <= *deadline)) return;
  timer_ = *deadline;
  const std::uint64_t number = ++timer_number_;
  world_.at(std::max(world_.now, *deadline + behind_), [this, number, life = life_] {
    in_life(life, [this, number] {
      if (number != timer_number_) return;
      timer_.reset();
      handle(Tick{});
    });
  });
}

void SchedulerProcess::run() {
  while (!actions_.empty()) {
    if (stops_now()) return;
    if (is_record(actions_.front())) {
      if (!run_records()) return;
      continue;
    }
    const Action action = std::move(actions_.front());
    actions_.pop_front();
    run_action(action);
    if (!logic) return;
  }
}

/// The run of records at the front as one transaction, as Daemon::run_records. False: the process ends.
bool SchedulerProcess::run_records() {
  for (; !actions_.empty() && is_record(actions_.front()); actions_.pop_front()) {
    const Action& action = actions_.front();
    ++world_.events;
    world_.digest.add(action.index());
    bool is_written = true;
    if (const auto* record = std::get_if<RecordExecutor>(&action)) {
      is_written = records.apply({{record->record.id.text, known(record->record)}}).has_value();
    } else if (const auto* forget = std::get_if<ForgetExecutor>(&action)) {
      is_written = records.apply({{forget->executor.text, std::nullopt}}).has_value();
    } else if (const auto* drain = std::get_if<RecordDrain>(&action)) {
      const auto reason = drain->is_draining ? std::optional<std::string>(drain->reason) : std::nullopt;
      is_written = drains.apply({{drain->host.text, reason}}).has_value();
    } else if (const auto* image = std::get_if<RecordImage>(&action)) {
      is_written = images.apply({{image->image.name, image->image}}).has_value();
    } else if (const auto* pause = std::get_if<RecordPause>(&action)) {
      const auto reason = pause->is_paused ? std::optional<std::string>(pause->reason) : std::nullopt;
      is_written = meta.apply({{"pause", reason}}).has_value();
    }
    if (!is_written) {
      kill(restart_after);
      return false;
    }
    world_.inspector->on_scheduler_action(world_, number_, action);
  }
  return true;
}

void SchedulerProcess::run_action(const Action& action) {
  ++world_.events;
  world_.digest.add(action.index());
  world_.inspector->on_scheduler_action(world_, number_, action);
  if (run_controller_action(action) || run_node_action(action)) return;
  run_host_action(action);
}

}  // namespace skep::simulation
