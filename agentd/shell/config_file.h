// agentd's configuration file: YAML -> checked values. What the machine itself knows better (host name, cpu,
// memory) may be left out: those fields stay empty or 0 and main fills them in.
#pragma once

#include <string>
#include <string_view>

#include "agentd/core/config.h"
#include "core/result.h"

namespace skep::agentd {

Result<AgentdConfig> load_config_file(const std::string& path);
Result<AgentdConfig> parse_config_text(std::string_view text, const std::string& file_name);

}  // namespace skep::agentd
