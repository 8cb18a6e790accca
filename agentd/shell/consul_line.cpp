#include <utility>

#include "agentd/shell/registry_line.h"
#include "common/consul/consul_client.h"
#include "common/log/log.h"
#include "core/url.h"

namespace skep::agentd {
namespace {

constexpr Duration farewell_limit = milliseconds(1500);  // agentd's whole end has 4.5 s
constexpr Duration remove_after = minutes(10);           // a killed host's entry, once its check is critical

class ConsulLine : public RegistryLine {
 public:
  ConsulLine(std::unique_ptr<consul::Client> client, std::unique_ptr<consul::Client> farewell,
             consul::Registration registration, std::string peer)
      : client_(std::move(client)),
        farewell_(std::move(farewell)),
        registration_(std::move(registration)),
        peer_(std::move(peer)) {}

  Result<void> announce() override {
    was_tried_ = true;
    // Also our own earlier life's entry is replaced: its port may have been another.
    if (!is_registered_) return register_now();
    const auto passed = client_->pass_check(registration_.id);
    if (!passed) return passed.error();
    if (*passed) return {};
    log::write(log::Level::warning, peer_ + " lost this host; it is registered again",
               {{"service", registration_.id}});
    is_registered_ = false;
    return register_now();
  }

  Result<void> withdraw() override {
    if (!was_tried_) return {};
    return farewell_->deregister_service(registration_.id, farewell_limit);
  }

  void cancel() override { client_->cancel(); }
  Duration longest_pause(Duration ttl) const override { return ttl / 3; }
  const std::string& peer() const override { return peer_; }

 private:
  Result<void> register_now() {
    auto registered = client_->register_service(registration_);
    is_registered_ = registered.has_value();
    return registered;
  }

  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<consul::Client> farewell_;  // still usable after cancel()
  consul::Registration registration_;
  std::string peer_;
  bool was_tried_ = false;
  bool is_registered_ = false;
};

}  // namespace

std::map<std::string, std::string> consul_metadata(const LogicConfig& logic,
                                                   const std::vector<std::string>& drivers,
                                                   const std::string& agentd_url) {
  std::string names;
  for (const std::string& driver : drivers) names += (names.empty() ? "" : ",") + driver;
  return {{"host", logic.host.text},
          {"url", agentd_url},
          {"version", logic.version},
          {"os", logic.os},
          {"arch", logic.arch},
          {"drivers", names},
          {"cpu_millis", std::to_string(logic.capacity.cpu_millis)},
          {"memory_bytes", std::to_string(logic.capacity.memory_bytes)},
          {"disk_bytes", std::to_string(logic.capacity.disk_bytes)},
          {"max_executors", std::to_string(logic.max_executors)}};
}

Result<std::unique_ptr<RegistryLine>> make_consul_line(const RegistryConfig& registry,
                                                       const HostAnnouncement& announcement,
                                                       std::map<std::string, std::string> metadata) {
  const auto parts = split_url(announcement.agentd_url);
  if (!parts || announcement.agentd_url.size() > consul::max_meta_value_bytes) {
    return Error::failed(ErrorCode::invalid_input,
                         "\"" + announcement.agentd_url + "\" is no address that Consul can hold",
                         "set advertise_url");
  }
  consul::Registration registration;
  registration.id = registry.consul_service + "-" + announcement.host.text;
  registration.service = registry.consul_service;
  registration.address = parts->host;
  registration.port = parts->port;
  registration.meta = std::move(metadata);
  registration.ttl = announcement.ttl;
  registration.remove_after = remove_after;
  const consul::Access access{registry.consul_address, registry.consul_token_file, registry.consul_ca_file};
  auto client = consul::Client::make(access);
  if (!client) return client.error();
  auto farewell = consul::Client::make(access);
  if (!farewell) return farewell.error();
  return std::unique_ptr<RegistryLine>(std::make_unique<ConsulLine>(
      std::move(*client), std::move(*farewell), std::move(registration), "Consul at " + access.address));
}

}  // namespace skep::agentd
