// JSON for the whole of Skep: the only header through which nlohmann_json is used. Strict reading of what
// others say, writing that never throws. Values are not thread-safe; functions are.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/bounds.h"
#include "core/result.h"

namespace skep::json {

using Json = nlohmann::json;

/// Refuses duplicate keys, broken UTF-8, trailing text, nesting beyond max_depth and numbers that overflow:
/// malformed_reply with the byte offset. The caller decides whether a refusal means "unknown".
Result<Json> parse_strict(std::string_view text, int max_depth = bounds::max_json_depth);

/// Broken UTF-8 is replaced, never thrown about.
std::string dump(const Json& value);

/// Typed fields of an object; the error names the key. Optional variants: nullopt when missing or null.
Result<std::string> get_string(const Json& object, std::string_view key);
Result<std::int64_t> get_int64(const Json& object, std::string_view key);
Result<bool> get_bool(const Json& object, std::string_view key);

}  // namespace skep::json
