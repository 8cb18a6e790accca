// Why an item waits, the smallest change that would unblock it, and when it will run. Falls out of demand and
// placement.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/time.h"

namespace skep::scheduler {

enum class WaitReason {
  quiet_period,      // Jenkins itself waits
  blocked,           // Jenkins holds it back (another build, resource)
  stopping,          // being cancelled, or the controller shuts down
  label_unresolved,  // we cannot learn its label
  no_template,       // no template's labels satisfy it
  template_limit,    // template's maximum reached
  no_room,           // no host can take one more
  backoff,           // launches failed; next try at a known time
  paused,            // an operator paused launching
  frozen,            // facts are unknown; nothing is decided
  executor_coming,   // one is on its way
  gate_opening,      // one is ready and is being offered
  resume,            // waits for its own executor after a controller restart
  resume_lost,       // its executor is gone for good
  served_elsewhere,  // a permanent node that is not ours can take it
};
std::string_view to_string(WaitReason reason);

struct Explanation {
  ControllerId controller;
  std::int64_t item = 0;
  std::string name;
  std::string label;  // normalised; "" = any node
  WaitReason reason{};
  std::string text;                     // one sentence
  std::string unblock;                  // the smallest change that would help; "" when nothing is needed
  std::optional<Duration> starts_in;    // estimate, when there is one
  std::map<std::string, int> refusals;  // filter -> hosts
  std::string nearest_miss;
  std::vector<std::string> matching_templates;
  std::optional<ExecutorId> executor;  // the one on its way or offered
  std::int64_t waiting_ms = 0;
  std::string image;  // what is going on with the image of its template; "" when nothing is
};

}  // namespace skep::scheduler
