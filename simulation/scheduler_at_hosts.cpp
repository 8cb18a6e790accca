// What a scheduler asks of hosts, and how it learns which there are: as host_link and the registries do.
#include <algorithm>
#include <type_traits>
#include <utility>

#include "simulation/scheduler_process.h"
#include "simulation/world.h"

namespace skep::simulation {
namespace {

using namespace scheduler;

constexpr Duration watch_wait = seconds(30);
constexpr Duration look_patience = seconds(5);
constexpr Duration first_pause = milliseconds(250), last_pause = seconds(5);
constexpr Duration look_at_registry_every = seconds(1);

/// As host_link reads an error whose body is not understood: by its status alone.
Error unreadable(const Error& error) {
  const bool is_server_fault =
      error.code == ErrorCode::out_of_resources || error.code == ErrorCode::unavailable;
  if (is_server_fault) return Error::unknown(ErrorCode::unavailable, "answered 503");
  return Error::failed(ErrorCode::generic, "answered 409");
}

/// What comes back is not understood.
template <typename T>
class Garbled final : public Waiting<T> {
 public:
  Garbled(World& world, Caller<T> caller) : world_(world), caller_(std::move(caller)) {}
  void reply(Result<T> result) override {
    world_.note("seen: an answer of a host is not understood");
    if (!result) return caller_.reply(unreadable(result.error()));
    caller_.reply(Error::unknown(ErrorCode::malformed_reply, "the answer is not understood"));
  }
  void drop() override { caller_.drop(); }

 private:
  World& world_;
  Caller<T> caller_;
};

/// What the weather does to a host's API. `serve` is told of a caller when the request is read.
template <typename T, typename Serve>
void serve_at(World& world, Host& host, const Caller<T>& caller, Serve serve) {
  if (!host.is_agentd_up()) return serve(host, caller);
  if (host.trust == Trust::token_refused)
    return caller.reply(Error::failed(ErrorCode::unauthenticated, "answered 401"));
  if (host.trust == Trust::handshake_fails)
    return caller.reply(
        Error::try_again(ErrorCode::unavailable, "no connection: the certificate is not taken"));
  if (world.draws(host.exhausted)) {
    if (world.draws(500)) return caller.drop();
    return caller.reply(Error::try_again(ErrorCode::unavailable, "no connection was accepted"));
  }
  if (!world.draws(host.unusable)) return serve(host, caller);
  serve(host, Caller<T>(std::make_shared<Garbled<T>>(world, caller)));
}

}  // namespace

template <typename T, typename Serve, typename Make>
void SchedulerProcess::call_host(const HostId& id, Serve serve, Make make) {
  Host* host = world_.find_host(id);
  if (host == nullptr || !lines_.contains(id)) {
    const Error error =
        Error::try_again(ErrorCode::unavailable, "host " + id.text + " has not announced itself");
    world_.later(Duration::zero(),
                 [this, life = life_, event = Event(make(Result<T>(error)))] { post(life, event); });
    return;
  }
  const auto answered = [this, life = life_, make](Result<T>&& result) {
    post(life, make(std::move(result)));
  };
  if (world_.lacks_room<T>(exhausted, answered)) return;
  world_.call<T>(
      host->link, patience,
      [this, host, serve](const Caller<T>& caller) { serve_at(world_, *host, caller, serve); }, answered);
}

void SchedulerProcess::run_host_action(const Action& action) {
  if (const auto* order = std::get_if<OrderExecutor>(&action)) {
    call_host<ExecutorReport>(
        order->host,
        [what = order->order](Host& host, const Caller<ExecutorReport>& caller) { host.order(what, caller); },
        [call = order->call, id = order->order.spec.id](Result<ExecutorReport>&& result) {
          return ExecutorOrdered{call, id, std::move(result)};
        });
  } else if (const auto* destroy = std::get_if<DestroyExecutor>(&action)) {
    call_host<ExecutorReport>(
        destroy->host,
        [what = *destroy](Host& host, const Caller<ExecutorReport>& caller) {
          host.destroy(what.executor, what.epoch, caller);
        },
        [what = *destroy](Result<ExecutorReport>&& result) {
          return ExecutorDestroyed{what.call, what.executor, std::move(result)};
        });
  } else if (const auto* pull = std::get_if<PullImage>(&action)) {
    call_host<std::string>(
        pull->host,
        [what = pull->reference](Host& host, const Caller<std::string>& caller) { host.pull(what, caller); },
        [what = *pull](Result<std::string>&& result) {
          return ImagePulled{what.call, what.host, what.reference, std::move(result)};
        });
  } else if (const auto* renew = std::get_if<RenewLeases>(&action)) {
    LeaseRenewal renewal = renew->renewal;
    if (is_older_) renewal.number = 0;
    call_host<LeaseReply>(
        renew->host,
        [what = std::move(renewal)](Host& host, const Caller<LeaseReply>& caller) {
          host.renew(what, caller);
        },
        [call = renew->call, host = renew->host, is_older = is_older_](Result<LeaseReply>&& result) {
          if (is_older && result) result->leaving.clear();
          return LeasesRenewed{call, host, std::move(result)};
        });
  }
}

void SchedulerProcess::follow_registry() {
  if (!logic) return;
  const bool is_heard = !world_.registry.is_away && !world_.registry.is_stale &&
                        !registry_link.is_request_cut && !registry_link.is_reply_cut;
  const int life = life_;
  if (is_heard && !world_.registry.shows(seen_, world_.now)) on_view(world_.registry.view(world_.now));
  if (life != life_) return;
  world_.later(look_at_registry_every, [this, life] { in_life(life, [this] { follow_registry(); }); });
}

void SchedulerProcess::on_view(const Registry::View& view) {
  seen_ = view;
  for (const auto& [host, is_doubtful] : view.hosts) open_line(host, is_doubtful);
  if (!world_.has_leader_lock) return;  // the embedded registry lists nobody
  std::vector<HostId> absent;
  for (auto& [host, line] : lines_) {
    line.is_listed = view.hosts.contains(host);
    if (!line.is_listed) absent.push_back(host);
  }
  for (const HostId& host : absent) part_with(host);
}

void SchedulerProcess::open_line(const HostId& host, bool is_doubtful) {
  const auto [found, is_new] = lines_.try_emplace(host);
  HostLine& line = found->second;
  const bool was_doubtful = std::exchange(line.is_doubtful, is_doubtful && world_.has_leader_lock);
  if (is_new) {
    line.number = next_line_++;
    watch_host(host, line.number);
  } else if (was_doubtful != line.is_doubtful) {
    look_at_host(host);
  }
}

void SchedulerProcess::watch_host(const HostId& id, int number) {
  const auto line = lines_.find(id);
  Host* host = world_.find_host(id);
  if (host == nullptr || line == lines_.end() || line->second.number != number) return;
  const std::uint64_t index = line->second.index;
  const Duration wait = index == 0 ? Duration::zero() : watch_wait;
  const auto answered = [this, life = life_, id, number, asked = own_time()](Result<HostReport>&& report) {
    in_life(life, [this, id, number, asked, report = std::move(report)]() mutable {
      host_answered(id, number, asked, std::move(report));
    });
  };
  if (world_.lacks_room<HostReport>(exhausted, answered)) return;
  const auto read = [index, wait](Host& from, const Caller<HostReport>& caller) {
    from.read_report(index, wait, caller);
  };
  world_.call<HostReport>(
      host->link, wait + patience,
      [this, host, read](const Caller<HostReport>& caller) { serve_at(world_, *host, caller, read); },
      answered);
}

void SchedulerProcess::host_answered(const HostId& id, int number, Instant asked, Result<HostReport> report) {
  const auto line = lines_.find(id);
  if (line == lines_.end() || line->second.number != number) return;
  line->second.index = report ? report->index : 0;
  Duration pause = Duration::zero();
  if (!report) {
    pause = line->second.pause;
    line->second.pause = std::min<Duration>(pause * 2, last_pause);
  } else {
    line->second.pause = first_pause;
  }
  const int life = life_;
  note_host(id, asked, std::move(report));
  if (life != life_) return;
  if (pause == Duration::zero()) return watch_host(id, number);
  world_.later(pause,
               [this, life, id, number] { in_life(life, [this, id, number] { watch_host(id, number); }); });
}

void SchedulerProcess::note_host(const HostId& id, Instant asked, Result<HostReport> report) {
  if (report) return handle(HostReported{std::move(*report), asked});
  handle(HostUnseen{id, report.error()});
  if (logic) part_with(id);
}

void SchedulerProcess::look_at_host(const HostId& id) {
  Host* host = world_.find_host(id);
  const auto answered = [this, life = life_, id, asked = own_time()](Result<HostReport>&& report) {
    in_life(life, [this, id, asked, report = std::move(report)]() mutable {
      if (lines_.contains(id)) note_host(id, asked, std::move(report));
    });
  };
  if (world_.lacks_room<HostReport>(exhausted, answered)) return;
  const auto read = [](Host& from, const Caller<HostReport>& caller) {
    from.read_report(0, Duration::zero(), caller);
  };
  world_.call<HostReport>(
      host->link, look_patience,
      [this, host, read](const Caller<HostReport>& caller) { serve_at(world_, *host, caller, read); },
      answered);
}

void SchedulerProcess::part_with(const HostId& host) {
  const auto found = lines_.find(host);
  if (found == lines_.end() || found->second.is_listed || !logic->may_depart(host)) return;
  lines_.erase(found);
  handle(HostDeparted{host});
}

}  // namespace skep::simulation
