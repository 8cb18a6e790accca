// gzip bodies with a cap on what comes out: a small reply must not become a large one in memory. Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace skep::http {

/// malformed_reply for broken data, too_large beyond `max_bytes`.
Result<std::string> gunzip(std::string_view compressed, std::size_t max_bytes);

}  // namespace skep::http
