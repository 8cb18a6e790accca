// A driver whose host is a map: what runs outlives the driver object, as sandboxes outlive agentd.
// Thread-safe. It reports two calls for one executor at the same time, which must never happen.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "drivers/api/driver.h"

namespace skep::test {

struct MemoryHost {
  std::mutex lock;  // guards all below
  std::condition_variable changed;
  std::map<std::string, drivers::Instance> instances;
  std::map<std::string, int> starts;
  std::set<std::string> in_call;
  bool has_overlap = false;
  int starts_under_way = 0;
  int most_starts_at_once = 0;
  int starts_wait_for = 0;  // each start waits until so many are under way, 5 s at most
};

class MemoryDriver final : public drivers::Driver,
                           public drivers::TicketDelivery,
                           public drivers::ChangeSource {
 public:
  explicit MemoryDriver(std::shared_ptr<MemoryHost> host) : host_(std::move(host)) {}
  std::string name() const override { return "memory"; }
  Result<drivers::ProbeReport> probe() override {
    return drivers::ProbeReport{true, "in memory", {"debian"}};
  }
  drivers::Capabilities capabilities() const override { return {true, true, false, false, false}; }

  Result<std::vector<drivers::Instance>> list() override {
    const std::lock_guard<std::mutex> guard(host_->lock);
    std::vector<drivers::Instance> all;
    for (const auto& [id, instance] : host_->instances) all.push_back(instance);
    return all;
  }

  Result<drivers::Instance> inspect(const ExecutorId& id) override {
    const Visit visit(*host_, id.text);
    return look(id.text);
  }

  Result<drivers::Instance> start(const drivers::StartRequest& request) override {
    const std::string& id = request.spec.id.text;
    const Visit visit(*host_, id);
    std::unique_lock<std::mutex> guard(host_->lock);
    ++host_->starts_under_way;
    host_->most_starts_at_once = std::max(host_->most_starts_at_once, host_->starts_under_way);
    host_->changed.notify_all();
    host_->changed.wait_for(guard, std::chrono::seconds(5),
                            [this] { return host_->most_starts_at_once >= host_->starts_wait_for; });
    --host_->starts_under_way;
    ++host_->starts[id];
    drivers::Instance instance;
    instance.id = request.spec.id;
    instance.state = drivers::InstanceState::running;
    instance.epoch = request.epoch;
    instance.ticket_attempt = request.ticket.attempt;
    instance.handle.blob = id;
    host_->instances[id] = instance;
    return instance;
  }

  Result<void> stop(const ExecutorId& id, Duration) override {
    const Visit visit(*host_, id.text);
    return {};
  }
  Result<void> destroy(const ExecutorId& id) override {
    const Visit visit(*host_, id.text);
    const std::lock_guard<std::mutex> guard(host_->lock);
    host_->instances.erase(id.text);
    return {};
  }
  Result<drivers::Instance> recover(const drivers::InstanceHandle& handle) override {
    const Visit visit(*host_, handle.blob);
    return look(handle.blob);
  }
  Result<void> deliver_ticket(const ExecutorId& id, const Ticket& ticket) override {
    const Visit visit(*host_, id.text);
    const std::lock_guard<std::mutex> guard(host_->lock);
    host_->instances[id.text].ticket_attempt = ticket.attempt;
    return {};
  }

  void set_change_listener(std::function<void(const ExecutorId&)> listener) override {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    listener_ = std::move(listener);
  }
  void set_agent(const std::string& id, AgentPhase phase) {
    {
      const std::lock_guard<std::mutex> guard(host_->lock);
      host_->instances.at(id).agent = phase;
    }
    const std::lock_guard<std::mutex> guard(listener_lock_);
    if (listener_) listener_(ExecutorId(id));
  }

 private:
  struct Visit {
    Visit(MemoryHost& h, std::string i) : host(h), id(std::move(i)) {
      const std::lock_guard<std::mutex> guard(host.lock);
      if (!host.in_call.insert(id).second) host.has_overlap = true;
    }
    ~Visit() {
      const std::lock_guard<std::mutex> guard(host.lock);
      host.in_call.erase(id);
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    MemoryHost& host;
    std::string id;
  };

  drivers::Instance look(const std::string& id) const {
    const std::lock_guard<std::mutex> guard(host_->lock);
    const auto found = host_->instances.find(id);
    if (found != host_->instances.end()) return found->second;
    drivers::Instance absent;
    absent.id = ExecutorId(id);
    return absent;
  }

  std::shared_ptr<MemoryHost> host_;
  std::mutex listener_lock_;  // guards listener_
  std::function<void(const ExecutorId&)> listener_;
};

}  // namespace skep::test
