// The hosts of a simulated farm from a YAML file; docs/how-to/simulate.md has the keys. Checked as a whole:
// every problem names file, line and key path.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "simulation/whatif/fleet.h"

namespace skep::cli {

Result<simulation::whatif::Fleet> load_fleet_file(const std::string& path);
Result<simulation::whatif::Fleet> parse_fleet_text(std::string_view text, const std::string& file_name);

}  // namespace skep::cli
