// What is sent to a controller: targets below its base address, form bodies, configurations. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "scheduler/core/actions.h"

namespace skep::scheduler {

inline constexpr const char* form_type = "application/x-www-form-urlencoded; charset=UTF-8";
inline constexpr const char* xml_type =
    "application/xml";  // a configuration sent as a form is answered with 500
inline constexpr const char* create_target = "plugin/swarm/createSlave";
/// Label of our throw-away nodes: tells them from executors of a template that happens to be called "kick".
inline constexpr std::string_view throw_away_label = "skep-throw-away";

/// "computer/NAME/REST"
std::string node_target(const std::string& node, const std::string& rest);

/// Body of createSlave. One executor, never kept when disconnected; EXCLUSIVE unless it takes items without
/// label.
std::string create_form(const CreateNode& order);

/// Body of changeOfflineCause; the reason gets our prefix if it has none.
std::string close_form(const std::string& reason);

/// A node's config.xml without the element that holds it offline; nothing if there is none (cores
/// before 2.482 keep the flag elsewhere).
std::optional<std::string> without_offline_cause(std::string_view config);

}  // namespace skep::scheduler
