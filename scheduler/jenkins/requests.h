// What is sent to a controller: targets below its base address, form bodies, configurations. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "scheduler/core/actions.h"
#include "scheduler/core/node_names.h"

namespace skep::scheduler {

inline constexpr const char* form_type = "application/x-www-form-urlencoded; charset=UTF-8";
inline constexpr const char* xml_type =
    "application/xml";  // a configuration sent as a form is answered with 500
inline constexpr const char* create_target = "plugin/swarm/createSlave";
/// Label of our throw-away nodes: tells them from executors of a template that happens to be called "kick".
inline constexpr std::string_view throw_away_label = "skep-throw-away";

/// What the names of all throw-away nodes of a farm begin with.
inline std::string throw_away_prefix(std::string_view farm) {
  constexpr std::size_t max_farm_chars = 20;
  return name_part(farm).substr(0, max_farm_chars) + "-kick-";
}

inline CreateNode throw_away_order(std::string name) {
  CreateNode order;
  order.node = ExecutorId(std::move(name));
  order.labels = std::string(throw_away_label);
  order.remote_fs = "/nowhere";
  order.description = "skep: makes the queue look; deleted at once";
  return order;
}

/// What a node says while we hold it offline: our prefix, if it is not there yet, and the reason.
inline std::string offline_message(const std::string& reason) {
  return reason.starts_with(our_offline_prefix) ? reason : std::string(our_offline_prefix) + " " + reason;
}

/// "computer/NAME/REST"
std::string node_target(const std::string& node, const std::string& rest);

/// Body of createSlave. One executor, never kept when disconnected; EXCLUSIVE unless it takes items without
/// label.
std::string create_form(const CreateNode& order);

/// Body of changeOfflineCause, with offline_message().
std::string close_form(const std::string& reason);

/// A node's config.xml without the element that holds it offline; nothing if there is none (cores
/// before 2.482 keep the flag elsewhere).
std::optional<std::string> without_offline_cause(std::string_view config);

}  // namespace skep::scheduler
