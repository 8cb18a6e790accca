#include "drivers/fake/fake_driver.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace skep::drivers::fake {
namespace {

using Clock = std::chrono::steady_clock;

Instant now() {
  return Instant(std::chrono::duration_cast<Duration>(Clock::now().time_since_epoch()));
}
Clock::time_point as_clock(Instant instant) {
  return Clock::time_point(std::chrono::duration_cast<Clock::duration>(instant.time_since_epoch()));
}

}  // namespace

struct FakeHost::State {
  explicit State(ModelOptions options) : model(std::move(options)) {}
  std::mutex lock;  // guards all below; never held while a listener runs
  std::condition_variable changed;
  HostModel model;
  std::uint64_t version = 1;   // grows whenever a call may have changed the model
  std::uint64_t releases = 0;  // grows when hanging calls are to end
};

FakeHost::FakeHost(ModelOptions options) : state_(std::make_shared<State>(std::move(options))) {}
FakeHost::~FakeHost() = default;

void FakeHost::with_model(const std::function<void(HostModel&, Instant)>& change) {
  {
    const std::lock_guard<std::mutex> guard(state_->lock);
    change(state_->model, now());
    ++state_->version;
  }
  state_->changed.notify_all();
}

void FakeHost::release_hanging_calls() {
  {
    const std::lock_guard<std::mutex> guard(state_->lock);
    ++state_->releases;
  }
  state_->changed.notify_all();
}

class FakeDriverImpl final : public Driver, public TicketDelivery, public ChangeSource {
 public:
  FakeDriverImpl(std::shared_ptr<FakeHost> host, FakeDriverOptions options)
      : host_(std::move(host)), state_(host_->state_), options_(std::move(options)) {
    watcher_ = std::thread([this] { watch(); });
  }
  ~FakeDriverImpl() override {
    {
      const std::lock_guard<std::mutex> guard(state_->lock);
      is_stopping_ = true;
    }
    state_->changed.notify_all();
    watcher_.join();
    std::unique_lock<std::mutex> guard(state_->lock);
    state_->changed.wait(guard, [this] { return calls_ == 0; });
  }
  FakeDriverImpl(const FakeDriverImpl&) = delete;
  FakeDriverImpl& operator=(const FakeDriverImpl&) = delete;

  std::string name() const override { return options_.name; }
  Capabilities capabilities() const override {
    Capabilities capabilities;
    capabilities.can_redeliver_ticket = options_.can_redeliver_ticket;
    capabilities.reports_changes = options_.reports_changes;
    capabilities.limits_cpu = capabilities.limits_memory = capabilities.limits_disk =
        true;  // the model keeps count
    return capabilities;
  }
  Result<ProbeReport> probe() override {
    return call<ProbeReport>([](HostModel& model, Instant) { return model.probe(); });
  }
  Result<std::vector<Instance>> list() override {
    return call<std::vector<Instance>>(
        [this](HostModel& model, Instant at) { return model.list(options_.owner_tag, at); });
  }
  Result<Instance> inspect(const ExecutorId& id) override {
    return call<Instance>(
        [&](HostModel& model, Instant at) { return model.inspect(options_.owner_tag, id, at); });
  }
  Result<Instance> start(const StartRequest& request) override {
    return call<Instance>(
        [&](HostModel& model, Instant at) { return model.start(options_.owner_tag, request, at); });
  }
  Result<void> stop(const ExecutorId& id, Duration deadline) override {
    return call<void>(
        [&](HostModel& model, Instant at) { return model.stop(options_.owner_tag, id, deadline, at); });
  }
  Result<void> destroy(const ExecutorId& id) override {
    return call<void>(
        [&](HostModel& model, Instant at) { return model.destroy(options_.owner_tag, id, at); });
  }
  Result<Instance> recover(const InstanceHandle& handle) override {
    return call<Instance>(
        [&](HostModel& model, Instant at) { return model.recover(options_.owner_tag, handle, at); });
  }
  Result<void> deliver_ticket(const ExecutorId& id, const Ticket& ticket) override {
    return call<void>([&](HostModel& model, Instant at) {
      return model.deliver_ticket(options_.owner_tag, id, ticket, at);
    });
  }
  void set_change_listener(std::function<void(const ExecutorId&)> listener) override {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    listener_ = std::move(listener);
  }

 private:
  /// Takes effect at once, answers when the script says so.
  template <typename T, typename Ask>
  Result<T> call(Ask ask) {
    const auto state = state_;  // the destructor waits for us, but not for the release of the lock
    std::unique_lock<std::mutex> guard(state->lock);
    ++calls_;
    const Instant begin = now();
    auto answer = ask(state->model, begin);
    ++state->version;
    state->changed.notify_all();
    const std::uint64_t releases = state->releases;
    const auto is_released = [&] { return is_stopping_ || (!answer.takes && state->releases != releases); };
    if (answer.takes) {
      const bool is_cut_short =
          state->changed.wait_until(guard, as_clock(begin + *answer.takes), is_released) &&
          *answer.takes > Duration::zero();
      if (is_cut_short)
        answer.result = Error::unknown(ErrorCode::unavailable, "the driver was ended meanwhile");
    } else {
      state->changed.wait(guard, is_released);
    }
    --calls_;
    state->changed.notify_all();
    return std::move(answer.result);
  }

  /// Calls the listener for what changes by itself, and for what any call changed.
  void watch() {
    std::unique_lock<std::mutex> guard(state_->lock);
    std::uint64_t seen = 0;  // the first look is at all that is there
    Instant looked_at = now();
    while (!is_stopping_) {
      const auto next = state_->model.next_change(looked_at);
      const auto is_due = [&] { return is_stopping_ || state_->version != seen; };
      if (next) {
        state_->changed.wait_until(guard, as_clock(*next), is_due);
      } else {
        state_->changed.wait(guard, is_due);
      }
      const bool was_called = state_->version != seen;
      seen = state_->version;
      const Instant at = now();
      const auto all = state_->model.changed_between(looked_at, at);
      looked_at = std::max(looked_at, at);
      // What a call changed lies at its own instant, which may be before our last look: all of ours are named
      // then.
      const auto ours = was_called ? ids_of_ours(at) : std::vector<ExecutorId>();
      guard.unlock();
      for (const auto& [owner, id] : all) {
        const bool is_named = std::find(ours.begin(), ours.end(), id) != ours.end();
        if (owner == options_.owner_tag && !is_named) notify(id);
      }
      for (const ExecutorId& id : ours) notify(id);
      guard.lock();
    }
  }

  /// Only those that look different from last time.
  std::vector<ExecutorId> ids_of_ours(Instant at) {
    std::map<ExecutorId, std::pair<InstanceState, AgentPhase>> present;
    for (const auto& each : state_->model.peek(options_.owner_tag, at))
      present[each.id] = {each.state, each.agent};
    std::vector<ExecutorId> out;
    for (const auto& [id, look] : present) {
      const auto before = last_look_.find(id);
      if (before == last_look_.end() || before->second != look) out.push_back(id);
    }
    for (const auto& [id, look] : last_look_) {
      if (present.count(id) == 0) out.push_back(id);
    }
    last_look_ = std::move(present);
    return out;
  }

  void notify(const ExecutorId& id) {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    if (options_.reports_changes && listener_) listener_(id);
  }

  std::shared_ptr<FakeHost> host_;
  std::shared_ptr<FakeHost::State> state_;
  FakeDriverOptions options_;
  bool is_stopping_ = false;  // both guarded by state_->lock
  int calls_ = 0;             // under way
  std::mutex
      listener_lock_;  // held while the listener runs, so that an old one never runs after it was replaced
  std::function<void(const ExecutorId&)> listener_;
  std::map<ExecutorId, std::pair<InstanceState, AgentPhase>> last_look_;  // of the watcher
  std::thread watcher_;
};

std::unique_ptr<Driver> make_fake_driver(std::shared_ptr<FakeHost> host, FakeDriverOptions options) {
  return std::make_unique<FakeDriverImpl>(std::move(host), std::move(options));
}

}  // namespace skep::drivers::fake
