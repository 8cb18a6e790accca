// Where hosts become known: the embedded registry (agentd announces itself to us) or Consul. Nothing else
// differs.
#pragma once

#include <functional>
#include <string>

#include "core/ids.h"
#include "core/result.h"

namespace skep::scheduler {

struct HostEndpoint {
  HostId host;
  std::string agentd_url;
};

class Registry {
 public:
  using OnHost = std::function<void(const HostEndpoint&)>;
  virtual ~Registry() = default;
  /// Calls back from a thread of its own for every host that is or becomes known, again when its address
  /// changes. A registry that cannot be asked calls nothing: unknown is never empty.
  virtual void start(OnHost on_host) = 0;
  virtual void stop() = 0;
  /// "" while the registry answers; else what is wrong, for `skep status`.
  virtual std::string problem() const = 0;
};

}  // namespace skep::scheduler
