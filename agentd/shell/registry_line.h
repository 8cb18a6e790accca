// The line to one registry: the scheduler itself (embedded) or a Consul agent. Blocking calls from one
// thread; cancel() from any.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agentd/core/config.h"
#include "core/protocol/agentd_api.h"
#include "core/result.h"

namespace skep::agentd {

class RegistryLine {
 public:
  virtual ~RegistryLine() = default;
  /// After success the registry knows this host for one ttl.
  virtual Result<void> announce() = 0;
  /// After the last announce(), also when that was cancelled.
  virtual Result<void> withdraw() = 0;
  /// Ends a running announce(); later ones fail at once.
  virtual void cancel() = 0;
  /// Between two tries while the registry is away.
  virtual Duration longest_pause(Duration ttl) const = 0;
  virtual const std::string& peer() const = 0;
};

/// PUT v1/hosts/{id} at the scheduler. Error invalid_input for an unusable address, CA or token file.
Result<std::unique_ptr<RegistryLine>> make_embedded_line(const RegistryConfig& registry,
                                                         const HostAnnouncement& announcement);

/// What people and other tools see of this host in Consul's catalogue; numbers have their unit in the key.
std::map<std::string, std::string> consul_metadata(const LogicConfig& logic,
                                                   const std::vector<std::string>& drivers,
                                                   const std::string& agentd_url);
/// A service with a TTL check at a Consul agent, registered again whenever Consul lost it.
Result<std::unique_ptr<RegistryLine>> make_consul_line(const RegistryConfig& registry,
                                                       const HostAnnouncement& announcement,
                                                       std::map<std::string, std::string> metadata);

}  // namespace skep::agentd
