// Where hosts become known: the embedded registry (agentd announces itself to us) or Consul. Nothing else
// differs.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "core/ids.h"
#include "core/result.h"

namespace skep::scheduler {

struct HostEndpoint {
  HostId host;
  std::string agentd_url;
  bool is_doubtful = false;  // the registry has not heard of it in time
  friend bool operator==(const HostEndpoint&, const HostEndpoint&) = default;
};

class Registry {
 public:
  struct Listener {
    /// A host that is or becomes known; again when its address or our doubt changes.
    std::function<void(const HostEndpoint&)> on_host;
    /// All hosts that the registry lists now. Only of a registry that keeps such a list.
    std::function<void(std::set<HostId>)> on_list;
  };
  virtual ~Registry() = default;
  /// Calls back from threads of its own. A registry that cannot be asked calls nothing: unknown is never
  /// empty.
  virtual void start(Listener listener) = 0;
  virtual void stop() = 0;
  /// As in the configuration: "embedded", "consul".
  virtual std::string kind() const = 0;
  /// "" while the registry answers; else what is wrong, for `skep status`.
  virtual std::string problem() const = 0;
};

}  // namespace skep::scheduler
