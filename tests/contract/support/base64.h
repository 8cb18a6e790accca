#pragma once

#include <string>

namespace skep::recordings {

/// For the Authorization header of a request that is made by hand.
std::string base64(const std::string& text);

}  // namespace skep::recordings
