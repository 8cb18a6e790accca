// Hosts from Consul's catalogue, by blocking queries. Consul away, slow or strange: nothing is called, and
// the hosts that are known stay.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/consul/consul_client.h"
#include "common/log/log.h"
#include "scheduler/shell/config_file.h"
#include "scheduler/shell/registry.h"

namespace skep::scheduler {

struct ListedHosts {
  std::map<HostId, HostEndpoint> hosts;
  std::vector<std::string> refused;  // why entries are not used, for the log
};

/// One endpoint per host. Of several entries of one host (its Consul node changed) one that is not critical
/// counts, then the younger. Pure.
ListedHosts read_hosts(const std::vector<consul::Instance>& instances);

class ConsulRegistry : public Registry {
 public:
  /// Error invalid_input for an unusable address, CA or token file.
  static Result<std::unique_ptr<Registry>> make(const RegistryConfig& config);
  ConsulRegistry(std::unique_ptr<consul::Client> client, const RegistryConfig& config);
  ~ConsulRegistry() override;
  void start(Listener listener) override;
  void stop() override;
  std::string kind() const override { return "consul"; }
  std::string problem() const override;

 private:
  void run();
  void tell(const std::vector<consul::Instance>& instances);
  void set_problem(const Error* error);
  /// False: stop.
  bool pause_for(Duration time);

  std::unique_ptr<consul::Client> client_;
  std::string service_;
  std::string peer_;
  Listener listener_;
  std::map<HostId, HostEndpoint> told_;  // touched by the thread only
  log::OncePerMinute limiter_;
  mutable std::mutex lock_;  // guards what follows
  std::condition_variable wake_;
  std::string problem_ = "it was not asked yet";
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace skep::scheduler
