#include "scheduler/shell/leader_lock.h"

#include <algorithm>
#include <random>
#include <utility>

#include "common/shell/clock.h"
#include "common/shell/worker_pool.h"

namespace skep::scheduler {
namespace {

constexpr Duration lock_delay = seconds(1);    // Consul keeps a lost lock from others for so long
constexpr Duration remove_after = minutes(1);  // Consul takes no less
constexpr Duration short_pause = milliseconds(100);
constexpr Duration farewell_limit = seconds(1);
constexpr int claim_tries = 10;

/// Each process is a holder of its own: two schedulers may run on one machine.
std::string new_holder() {
  std::random_device device;
  std::string id;
  for (int i = 0; i < 12; ++i) id += "0123456789abcdef"[device() % 16];
  return id;
}

}  // namespace

Result<std::unique_ptr<LeaderLock>> LeaderLock::make(const FileConfig& config) {
  auto client = consul::Client::make(config.registry.consul);
  if (!client) return client.error();
  auto aside = consul::Client::make(config.registry.consul);
  if (!aside) return aside.error();
  return std::unique_ptr<LeaderLock>(new LeaderLock(config, std::move(*client), std::move(*aside)));
}

LeaderLock::LeaderLock(const FileConfig& config, std::unique_ptr<consul::Client> client,
                       std::unique_ptr<consul::Client> aside)
    : key_(config.leader_lock.key),
      holder_(new_holder()),
      service_("skep-scheduler"),
      service_id_(service_ + "-" + config.logic.farm + "-" + holder_),
      ttl_(config.leader_lock.ttl),
      client_(std::move(client)),
      aside_(std::move(aside)) {}

LeaderLock::~LeaderLock() {
  stop();
}

void LeaderLock::start(std::function<void()> on_change) {
  on_change_ = std::move(on_change);
  thread_ = std::thread([this] { shell::run_guarded("leader lock", [this] { run(); }); });
}

void LeaderLock::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  client_->cancel();
  if (!thread_.joinable()) return;
  thread_.join();
  // Both are tried; what fails ends by itself when the check does.
  if (!session_.empty()) static_cast<void>(aside_->destroy_session(session_).has_value());
  static_cast<void>(aside_->deregister_service(service_id_, farewell_limit).has_value());
}

bool LeaderLock::is_held_locked() const {
  return was_acquired_ && !is_given_up_ && shell::now() < passed_ + ttl_;
}

bool LeaderLock::is_held() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return is_held_locked();
}

bool LeaderLock::is_lost() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return was_acquired_ && !is_held_locked();
}

Duration LeaderLock::time_left() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return is_held_locked() ? passed_ + ttl_ - shell::now() : Duration::zero();
}

void LeaderLock::run() {
  for (;;) {
    pause_ = Duration::zero();
    const auto done = step();
    if (is_lost()) return become(false, done ? "" : done.error().message);
    std::uint64_t held_back = 0;
    std::unique_lock<std::mutex> guard(lock_);
    if (is_stopping_) return;
    guard.unlock();
    if (!done && limiter_.allows(done.error().message, shell::now(), held_back)) {
      log::write(log::Level::warning, "the leader lock: " + done.error().message + "; tried again",
                 {{"key", key_}, {"hint", done.error().hint}});
    }
    guard.lock();
    if (wake_.wait_for(guard, done ? pause_ : std::max(short_pause, pause_), [this] { return is_stopping_; }))
      return;
  }
}

/// One round takes about a third of the ttl, mostly in a blocking query.
Result<void> LeaderLock::step() {
  if (auto alive = keep_alive(); !alive) {
    pause_ = std::min<Duration>(ttl_ / 6, seconds(1));
    return alive;
  }
  return is_held() ? watch_held() : try_acquire();
}

Result<void> LeaderLock::keep_alive() {
  const Instant sent = shell::now();
  if (is_registered_) {
    const auto passed = client_->pass_check(service_id_);
    if (!passed) return passed.error();
    is_registered_ = *passed;
  }
  {
    // Too late, or forgotten with the session that was bound to it: what was lost does not come back.
    const std::lock_guard<std::mutex> guard(lock_);
    if (was_acquired_ && !(is_registered_ && is_held_locked())) is_given_up_ = true;
    if (is_given_up_) return Error::failed(ErrorCode::conflict, "its check was not passed in time");
  }
  if (!is_registered_) {
    session_.clear();
    consul::Registration registration;
    registration.id = service_id_;
    registration.service = service_;
    registration.meta = {{"holder", holder_}};
    registration.ttl = ttl_;
    registration.remove_after = remove_after;
    if (auto done = client_->register_service(registration); !done) return done;
    is_registered_ = true;
  }
  const std::lock_guard<std::mutex> guard(lock_);
  passed_ = sent;
  return {};
}

Result<void> LeaderLock::try_acquire() {
  pause_ = std::min<Duration>(ttl_ / 6, seconds(1));  // after an error
  if (session_.empty()) {
    auto session = client_->create_session(service_id_, service_id_, lock_delay);
    // The check is on its way from the agent to the catalogue at first.
    if (!session) return session.error();
    session_ = std::move(*session);
  }
  const auto acquired = client_->acquire(key_, session_, holder_);
  if (!acquired) {
    // Maybe Consul ended it, maybe it holds the key and we do not know: another one is clear, and none is
    // left behind.
    static_cast<void>(client_->destroy_session(session_).has_value());
    session_.clear();
    return acquired.error();
  }
  pause_ = Duration::zero();
  if (*acquired) {
    become(true, "");
    return {};
  }
  auto reading = client_->read_key(key_, index_, ttl_ / 3);
  if (!reading) return reading.error();
  index_ = consul::next_index(index_, reading->index);
  const bool is_free = !reading->key || reading->key->session.empty();
  if (is_free) pause_ = short_pause;  // the lock delay
  std::uint64_t held_back = 0;
  if (!is_free && limiter_.allows("standby", shell::now(), held_back))
    log::write(log::Level::info, "another scheduler leads; this one waits for the lock", {{"key", key_}});
  return {};
}

Result<void> LeaderLock::watch_held() {
  auto reading = client_->read_key(key_, index_, ttl_ / 3);
  if (!reading) {
    index_ = 0;
    pause_ = short_pause;
    return reading.error();
  }
  index_ = consul::next_index(index_, reading->index);
  if (index_ == 0) pause_ = short_pause;
  if (reading->key && reading->key->session == session_) return {};
  const std::lock_guard<std::mutex> guard(lock_);
  is_given_up_ = true;
  return Error::failed(ErrorCode::conflict, "Consul says that this scheduler no longer holds the lock");
}

void LeaderLock::become(bool is_held, const std::string& why) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    was_acquired_ = true;
    if (!is_held) is_given_up_ = true;
  }
  if (is_held) {
    index_ = 0;
    log::write(log::Level::info, "the leader lock is ours", {{"key", key_}, {"holder", holder_}});
  } else {
    log::write(log::Level::error, "the leader lock is lost" + (why.empty() ? "" : ": " + why),
               {{"key", key_}});
  }
  on_change_();
}

Result<Epoch> LeaderLock::claim_epoch(Epoch at_least) {
  const std::string key = key_ + "-epoch";
  for (int i = 0; i < claim_tries; ++i) {
    const auto reading = aside_->read_key(key, 0, Duration::zero());
    if (!reading) return reading.error();
    const Epoch claimed = std::max<Epoch>(at_least, reading->key ? reading->key->number + 1 : 1);
    const auto done = aside_->put_if_unchanged(key, claimed, reading->key ? reading->key->modify_index : 0);
    if (!done) return done.error();
    if (!*done) continue;
    if (is_held()) return claimed;
    return Error::failed(ErrorCode::conflict, "the leader lock was lost before the term began");
  }
  return Error::try_again(ErrorCode::conflict,
                          "the number of a new term could not be claimed: " + key + " changes all the time");
}

}  // namespace skep::scheduler
