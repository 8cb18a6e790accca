#include "scheduler/shell/consul_registry.h"
#include "core/url.h"

#include <utility>

#include "common/shell/backoff.h"
#include "common/shell/clock.h"
#include "common/shell/worker_pool.h"

namespace skep::scheduler {
namespace {

constexpr Duration service_wait = seconds(30);
constexpr Duration first_pause = milliseconds(500);
constexpr Duration last_pause = seconds(15);
// A catalogue that changes all the time, and one that answers without waiting, must not keep us busy.
constexpr Duration after_news = milliseconds(50);
constexpr Duration without_waiting = seconds(1);

std::string text_in(const consul::Instance& instance, const char* key) {
  const auto found = instance.meta.find(key);
  return found == instance.meta.end() ? "" : found->second;
}

bool is_better(const consul::Instance& a, const consul::Instance& b) {
  const bool a_critical = a.health == consul::Health::critical;
  const bool b_critical = b.health == consul::Health::critical;
  if (a_critical != b_critical) return b_critical;
  if (a.modify_index != b.modify_index) return a.modify_index > b.modify_index;
  return a.id < b.id;
}

}  // namespace

ListedHosts read_hosts(const std::vector<consul::Instance>& instances) {
  ListedHosts out;
  std::map<HostId, const consul::Instance*> best;
  for (const consul::Instance& instance : instances) {
    const HostId host(text_in(instance, "host"));
    if (!is_valid_name(host.text)) {
      out.refused.push_back("service " + instance.id.substr(0, 80) + " names no valid host in its metadata");
    } else if (!split_url(text_in(instance, "url"))) {
      out.refused.push_back("host " + host.text + " has no usable url in its metadata");
    } else if (auto [place, is_new] = best.try_emplace(host, &instance);
               !is_new && is_better(instance, *place->second)) {
      place->second = &instance;
    }
  }
  for (const auto& [host, instance] : best) {
    out.hosts[host] = {host, text_in(*instance, "url"), instance->health == consul::Health::critical};
  }
  return out;
}

Result<std::unique_ptr<Registry>> ConsulRegistry::make(const RegistryConfig& config) {
  auto client = consul::Client::make(config.consul);
  if (!client) return client.error();
  return std::unique_ptr<Registry>(std::make_unique<ConsulRegistry>(std::move(*client), config));
}

ConsulRegistry::ConsulRegistry(std::unique_ptr<consul::Client> client, const RegistryConfig& config)
    : client_(std::move(client)),
      service_(config.consul_service),
      peer_("Consul at " + config.consul.address) {}

ConsulRegistry::~ConsulRegistry() {
  stop();
}

void ConsulRegistry::start(Listener listener) {
  listener_ = std::move(listener);
  thread_ = std::thread([this] { shell::run_guarded("consul registry", [this] { run(); }); });
}

void ConsulRegistry::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  client_->cancel();
  if (thread_.joinable()) thread_.join();
}

std::string ConsulRegistry::problem() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return problem_;
}

bool ConsulRegistry::pause_for(Duration time) {
  std::unique_lock<std::mutex> guard(lock_);
  return !wake_.wait_for(guard, time, [this] { return is_stopping_; });
}

void ConsulRegistry::set_problem(const Error* error) {
  std::uint64_t held_back = 0;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (is_stopping_) return;
    const std::string before = std::exchange(problem_, error == nullptr ? "" : error->message);
    if (error == nullptr && before.empty()) return;
  }
  if (error == nullptr) {
    log::write(log::Level::info, peer_ + " answers", {{"service", service_}});
  } else if (limiter_.allows(error->message, shell::now(), held_back)) {
    log::write(log::Level::warning,
               "cannot read hosts from " + peer_ + ": " + error->message + "; the " +
                   std::to_string(told_.size()) + " known hosts stay, new ones are not seen",
               {{"hint", error->hint}});
  }
}

void ConsulRegistry::run() {
  std::uint64_t index = 0;
  shell::Backoff backoff(first_pause, last_pause);
  for (;;) {
    const Instant asked = shell::now();
    const auto list = client_->read_service(service_, index, index == 0 ? Duration::zero() : service_wait);
    Duration pause = after_news;
    if (list) {
      set_problem(nullptr);
      tell(list->instances);
      backoff.reset();
      const std::uint64_t next = consul::next_index(index, list->index);
      const bool did_not_wait = next == 0 || (next == index && shell::now() - asked < without_waiting);
      if (did_not_wait) pause = without_waiting;
      index = next;
    } else {
      set_problem(&list.error());
      index = 0;
      pause = backoff.next();
    }
    if (!pause_for(pause)) return;
  }
}

void ConsulRegistry::tell(const std::vector<consul::Instance>& instances) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (is_stopping_) return;
  }
  ListedHosts listed = read_hosts(instances);
  std::uint64_t held_back = 0;
  if (!listed.refused.empty() && limiter_.allows("refused", shell::now(), held_back)) {
    log::write(log::Level::warning, "not every entry in Consul is used: " + listed.refused.front(),
               {{"service", service_}, {"entries", std::to_string(listed.refused.size())}});
  }
  std::set<HostId> all;
  for (const auto& [host, endpoint] : listed.hosts) {
    all.insert(host);
    const auto before = told_.find(host);
    if (before == told_.end() || before->second != endpoint) listener_.on_host(endpoint);
  }
  told_ = std::move(listed.hosts);
  listener_.on_list(std::move(all));
}

}  // namespace skep::scheduler
