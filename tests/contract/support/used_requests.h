// Which requests Skep itself sends to a controller. The stand-in must answer every one of them as the real
// ones did, and what the adapter sends in its own contract tests must be among them.
#pragma once

#include <string>

namespace skep::recordings {

/// `target` with or without leading slash, percent-encoded as on the wire.
bool is_used_by_skep(const std::string& method, const std::string& target);

}  // namespace skep::recordings
