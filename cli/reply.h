// Fields of the scheduler's answers, read so that a strange answer is an empty cell and never a crash.
#pragma once

#include <cstdint>
#include <string>

#include "common/json/json.h"
#include "core/resources.h"

namespace skep::cli {

std::string text_of(const json::Json& object, const char* key);
std::int64_t number_of(const json::Json& object, const char* key, std::int64_t fallback = 0);
bool flag_of(const json::Json& object, const char* key);
/// A list in the object; an empty one when it is missing or no list.
const json::Json& list_of(const json::Json& object, const char* key);
/// The texts of a list, separated by commas, fit for a terminal.
std::string joined(const json::Json& list);
Resources resources_of(const json::Json& in);

}  // namespace skep::cli
