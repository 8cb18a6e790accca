// What must hold of every configuration that was accepted, and of every message that refuses one. The fuzz
// targets and the mutation test share it. Pure.
#pragma once

#include <set>
#include <string>

#include "agentd/core/config.h"
#include "scheduler/shell/config_file.h"

namespace skep::test {

inline bool is_usable_url(const std::string& url) {
  return (url.rfind("http://", 0) == 0 || url.rfind("https://", 0) == 0) && url.back() == '/' &&
         url.find('@') == std::string::npos;
}

inline bool is_loopback_or_https(const std::string& url) {
  return url.rfind("https://", 0) == 0 || url.rfind("http://127.", 0) == 0 ||
         url.rfind("http://localhost", 0) == 0 || url.rfind("http://[::1]", 0) == 0;
}

inline bool is_within(const Resources& resources) {
  constexpr std::int64_t most = std::int64_t{1} << 50;
  const auto good = [](std::int64_t value, std::int64_t limit) { return value >= 0 && value <= limit; };
  for (const auto& [name, count] : resources.countable) {
    if (count < 0) return false;
  }
  return good(resources.memory_bytes, most) && good(resources.disk_bytes, most) && resources.cpu_millis >= 0;
}

inline std::string broken_invariant(const scheduler::Template& made,
                                    const std::set<std::string>& controllers) {
  if (!is_valid_name(made.name.text) || made.name.text.size() > 30) return "template name";
  for (const std::string& label : made.labels) {
    if (label.empty() || label.find_first_of(" \t\"'()&|!<>") != std::string::npos) return "label";
  }
  if (!is_within(made.resources)) return "resources";
  if (made.minimum_idle < 0 || made.minimum_idle > made.maximum || made.maximum > 50'000)
    return "minimum_idle";
  if (made.boot_deadline <= Duration::zero() || made.join_deadline <= Duration::zero()) return "deadline";
  if (made.build_limit < Duration::zero() || made.stop_grace < Duration::zero()) return "limit";
  if (made.driver != "process") return "driver";
  for (const ControllerId& name : made.controllers) {
    if (controllers.count(name.text) == 0) return "controller of a template";
  }
  return {};
}

/// The name of what does not hold, or "".
inline std::string broken_invariant(const scheduler::FileConfig& config) {
  const scheduler::SchedulerConfig& logic = config.logic;
  if (!is_valid_name(logic.farm) || logic.farm.size() > 16) return "farm";
  if (config.state_dir.empty()) return "state_dir";
  if (config.tls_certificate.empty() != config.tls_key.empty()) return "tls";
  if (logic.controllers.empty() || logic.templates.empty()) return "nothing to do";
  if (config.access.size() != logic.controllers.size()) return "access";
  std::set<std::string> controllers, templates;
  for (const scheduler::ControllerConfig& controller : logic.controllers) {
    if (controller.name.empty() || !controllers.insert(controller.name.text).second) return "controller name";
    if (!is_usable_url(controller.url)) return "join_url";
    if (controller.poll_interval < milliseconds(200) || controller.idle_poll_interval < milliseconds(200))
      return "poll_interval";
    if (controller.gate_poll < milliseconds(5) || controller.max_open_gates < 1) return "gate";
    if (controller.companion && controller.one_build == scheduler::ControllerConfig::OneBuild::gate)
      return "companion with the gate";
  }
  for (const scheduler::ControllerAccess& access : config.access) {
    if (!is_usable_url(access.url)) return "url";
    if (access.user.empty() != access.token_file.empty()) return "user without token";
  }
  for (const scheduler::Template& made : logic.templates) {
    if (!templates.insert(made.name.text).second) return "template twice";
    if (auto broken = broken_invariant(made, controllers); !broken.empty()) return broken;
  }
  if (logic.backoff_first > logic.backoff_last) return "backoff";
  if (logic.lease < seconds(3) || logic.max_creations_per_second < 1 || logic.max_coming_per_host < 1)
    return "policy";
  return {};
}

inline std::string broken_invariant(const agentd::AgentdConfig& config) {
  if (config.state_dir.empty()) return "state_dir";
  if (!config.logic.host.empty() && !is_valid_name(config.logic.host.text)) return "host";
  if (config.tls_certificate.empty() != config.tls_key.empty()) return "tls";
  if (config.worker_threads < 1 || config.worker_threads > 64) return "worker_threads";
  if (!is_within(config.logic.capacity)) return "capacity";
  if (config.logic.max_executors < 1 || config.logic.max_executors > 10'000) return "max_executors";
  if (config.registry.type == agentd::RegistryConfig::Type::embedded &&
      !is_usable_url(config.registry.scheduler_url))
    return "scheduler_url";
  if (config.registry.ttl < seconds(1)) return "ttl";
  return {};
}

/// Every line of it begins with FILE:LINE, so that a person finds the place.
inline bool names_a_place(const std::string& message, const std::string& file) {
  const std::string start = file + ":";
  for (std::size_t at = 0; at < message.size();) {
    if (message.compare(at, start.size(), start) != 0) return false;
    std::size_t digit = at + start.size();
    if (digit >= message.size() || message[digit] < '1' || message[digit] > '9') return false;
    const std::size_t end = message.find('\n', at);
    at = end == std::string::npos ? message.size() : end + 1;
  }
  return !message.empty();
}

}  // namespace skep::test
