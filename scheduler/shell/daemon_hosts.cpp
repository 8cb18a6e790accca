// The lines to hosts: opened when the registry names them, closed when they depart. All of it on the strand.
#include <utility>

#include "common/shell/clock.h"
#include "common/shell/files.h"
#include "core/url.h"
#include "scheduler/shell/daemon.h"

namespace skep::scheduler {
namespace {

constexpr Duration announced_within = minutes(1);  // agentd does so every few seconds

}  // namespace

void Daemon::on_host(const HostEndpoint& endpoint) {
  const auto found = hosts_.find(endpoint.host);
  if (found != hosts_.end()) {
    found->second.announced = shell::now();
    const bool was_doubtful = std::exchange(found->second.is_doubtful, endpoint.is_doubtful);
    if (found->second.link->url() == endpoint.agentd_url) {
      if (was_doubtful != endpoint.is_doubtful) look_at(endpoint.host, found->second);
      return;
    }
  } else if (hosts_.size() >= bounds::max_hosts) {
    return write_log({Level::error,
                      "too many hosts; this one is not watched",
                      {{"host", endpoint.host.text}},
                      "too many hosts"});
  }
  auto link = open_host(endpoint);
  if (!link) {
    return write_log({Level::error,
                      "cannot talk to a host: " + link.error().message + "; nothing is launched there",
                      {{"host", endpoint.host.text}, {"hint", link.error().hint}},
                      "cannot talk to " + endpoint.host.text});
  }
  log::write(log::Level::info, "a host is known",
             {{"host", endpoint.host.text}, {"agentd", endpoint.agentd_url}});
  HostLine& line = hosts_[endpoint.host];
  line.is_doubtful = endpoint.is_doubtful;
  line.announced = shell::now();
  close_host(std::exchange(line.link, std::move(*link)));
}

Result<std::unique_ptr<HostLink>> Daemon::open_host(const HostEndpoint& endpoint) {
  HostLinkOptions options{endpoint.host, endpoint.agentd_url, "", config_.agentd_ca_file};
  if (!config_.agentd_token_file.empty()) {
    const auto address = split_url(endpoint.agentd_url);
    const bool is_safe = address && (address->scheme == "https" || is_loopback_host(address->host));
    if (!is_safe && !config_.agentd_may_be_plain) {
      return Error::failed(ErrorCode::invalid_input, endpoint.agentd_url + " would get our token unprotected",
                           "give that agentd tls, or say agentd.allow_http: true");
    }
    auto token = shell::read_secret_file(config_.agentd_token_file);
    if (!token) return token.error();
    options.bearer_token = *token;
  }
  return HostLink::create(std::move(options), [this, host = endpoint.host](Event event) {
    if (is_stopping_) return;
    if (!strand_->post([this, host, event = std::move(event)] { on_host_event(event, host); })) {
      log::write(log::Level::error,
                 "an event of a host was lost because the scheduler is overloaded; the next look repeats it",
                 {{"host", host.text}});
    }
  });
}

/// Ending a line waits for its thread: not here, on the strand.
void Daemon::close_host(std::shared_ptr<HostLink> link) {
  if (link && !host_calls_->submit([link] { link->stop(); })) link->stop();
}

/// The registry's doubt, or its end, is only a reason to ask: what the host itself answers counts, and its
/// blocking query may be silent for long. An answer that the watch has overtaken is dropped.
void Daemon::look_at(const HostId& host, const HostLine& line) {
  const bool is_taken = host_calls_->submit([this, host, link = line.link, heard = line.heard] {
    const Event event = link->look();
    const bool is_posted = strand_->post([this, host, event, heard] {
      const auto found = hosts_.find(host);
      if (found != hosts_.end() && found->second.heard == heard) on_host_event(event, host);
    });
    static_cast<void>(is_posted);  // refused: overloaded or stopping; the watch sees it later
  });
  static_cast<void>(is_taken);
}

void Daemon::on_host_event(const Event& event, const HostId& host) {
  const auto found = hosts_.find(host);
  if (found == hosts_.end()) return;  // it departed while this was under way
  ++found->second.heard;
  handle(event);
  if (std::holds_alternative<HostUnseen>(event)) part_with(host);
}

void Daemon::on_host_list(const std::set<HostId>& listed) {
  is_registry_listing_ = true;
  std::vector<HostId> absent;
  for (auto& [host, line] : hosts_) {
    line.is_listed = listed.count(host) != 0;
    if (!line.is_listed) absent.push_back(host);
  }
  for (const HostId& host : absent) part_with(host);
}

/// Lets a host go that the registry no longer lists, if the logic agrees.
void Daemon::part_with(const HostId& host) {
  const auto found = hosts_.find(host);
  if (found == hosts_.end() || found->second.is_listed || !logic_->may_depart(host)) return;
  close_host(std::move(found->second.link));
  hosts_.erase(found);
  log::write(log::Level::info,
             "a host left the farm: the registry no longer lists it, it does not answer, nothing runs there",
             {{"host", host.text}});
  handle(HostDeparted{host});
}

/// Somebody there says that it lives, although it may not answer us.
bool Daemon::is_announced(const HostId& host) const {
  const auto found = hosts_.find(host);
  if (found == hosts_.end() || found->second.is_doubtful || !found->second.is_listed) return false;
  return is_registry_listing_ || shell::now() - found->second.announced < announced_within;
}

/// Its line stays open as long as the registry names it: a host that comes back is heard.
Result<std::vector<ExecutorId>> Daemon::forget_host(const ForgetHost& order, bool is_dry) {
  const Error not_leading =
      Error::failed(ErrorCode::conflict, "this scheduler does not lead any more; nothing was given up",
                    "say it to the scheduler that leads");
  if (!may_act()) return not_leading;
  auto given_up = logic_->given_up_with(order.host, shell::now());
  if (!given_up) return given_up;
  if (is_announced(order.host)) {
    return Error::failed(
        ErrorCode::conflict,
        "host " + order.host.text + " announces itself to the registry (" + registry_->kind() +
            ") although it does not answer; nothing was given up",
        "drain it instead: skep drain " + order.host.text + "; skep hosts shows why it does not answer");
  }
  if (is_dry) return given_up;
  handle(order);
  if (!may_act()) return not_leading;  // whether it is on record, a leader that starts anew finds out
  return given_up;
}

void Daemon::call_host(const HostId& host, std::function<Event(HostLink&)> call,
                       std::function<Event(const Error&)> refused) {
  const auto found = hosts_.find(host);
  if (found == hosts_.end()) {
    post_event(
        refused(Error::try_again(ErrorCode::unavailable, "host " + host.text + " has not announced itself")));
    return;
  }
  const bool is_taken = host_calls_->submit(
      [this, link = found->second.link, call = std::move(call)] { post_event(call(*link)); });
  if (!is_taken)
    post_event(refused(Error::try_again(ErrorCode::unavailable, "too many calls to hosts are waiting")));
}

}  // namespace skep::scheduler
