#include "cli/reply.h"

#include "cli/table.h"

namespace skep::cli {

using json::Json;

std::string text_of(const Json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  return printable(found->is_string() ? found->get<std::string>() : json::dump(*found));
}

std::int64_t number_of(const Json& object, const char* key, std::int64_t fallback) {
  if (!object.is_object()) return fallback;
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : fallback;
}

bool flag_of(const Json& object, const char* key) {
  if (!object.is_object()) return false;
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

const Json& list_of(const Json& object, const char* key) {
  static const Json nothing = Json::array();
  if (!object.is_object()) return nothing;
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : nothing;
}

std::string joined(const Json& list) {
  std::string out;
  for (const Json& item : list)
    out +=
        (out.empty() ? "" : ", ") + printable(item.is_string() ? item.get<std::string>() : json::dump(item));
  return out;
}

Resources resources_of(const Json& in) {
  Resources out;
  out.cpu_millis = number_of(in, "cpu_millis");
  out.memory_bytes = number_of(in, "memory_bytes");
  out.disk_bytes = number_of(in, "disk_bytes");
  if (in.is_object() && in.contains("countable") && in["countable"].is_object()) {
    for (const auto& [name, count] : in["countable"].items()) {
      if (count.is_number_integer()) out.countable[name] = count.get<std::int64_t>();
    }
  }
  return out;
}

}  // namespace skep::cli
