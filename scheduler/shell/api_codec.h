// The scheduler's own API as JSON: what `skep`, dashboards and scripts read. Append only.
#pragma once

#include <vector>

#include "common/json/json.h"
#include "scheduler/core/logic.h"

namespace skep::scheduler {

json::Json to_json(const Explanation& explanation);
json::Json to_json(const ExecutorStatus& executor);
json::Json to_json(const HostStatus& host);
json::Json to_json(const ControllerStatus& controller);
json::Json to_json(const Template& made);
json::Json to_json(const ImageStatus& status);
json::Json to_json(const Counters& counters);
/// {"api":1,"farm","epoch","paused",...,"controllers":[],"hosts":[],"executors":[],"queue":[],"templates":[],"counters":{}}
json::Json to_json(const StatusSnapshot& snapshot);

template <typename T>
json::Json list_to_json(const std::vector<T>& values) {
  json::Json out = json::Json::array();
  for (const T& value : values) out.push_back(to_json(value));
  return out;
}

}  // namespace skep::scheduler
