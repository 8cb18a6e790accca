#include "drivers/qemu/qmp_texts.h"

#include "common/json/json.h"

namespace skep::drivers::qemu {
namespace {

using json::Json;

constexpr std::size_t max_text = 500;

Error no_qmp(const std::string& why) {
  return Error::unknown(ErrorCode::malformed_reply, "QEMU does not speak QMP as it should: " + why);
}

}  // namespace

std::string qmp_command(const std::string& name, std::uint64_t id, const std::string& arguments) {
  Json command{{"execute", name}, {"id", id}};
  if (!arguments.empty()) {
    const auto parsed = json::parse_strict(arguments);
    if (parsed) command["arguments"] = *parsed;
  }
  return json::dump(command);
}

Result<QmpGreeting> read_greeting(const std::string& line) {
  const auto parsed = json::parse_strict(line);
  if (!parsed) return no_qmp(parsed.error().message);
  const Error broken = no_qmp("its greeting has no version");
  const Json* at = &*parsed;
  std::string package;
  for (const char* key : {"QMP", "version", "qemu"}) {
    if (const auto found = json::get_string(*at, "package"); at->is_object() && found) package = " " + *found;
    if (!at->is_object() || at->find(key) == at->end()) return broken;
    at = &*at->find(key);
  }
  if (!at->is_object()) return broken;
  const auto major = json::get_int64(*at, "major"), minor = json::get_int64(*at, "minor");
  const auto micro = json::get_int64(*at, "micro");
  if (!major || !minor || !micro) return broken;
  return QmpGreeting{std::to_string(*major) + "." + std::to_string(*minor) + "." + std::to_string(*micro) +
                     package};
}

Result<std::optional<std::string>> read_qmp_reply(const std::string& line, std::uint64_t id) {
  const auto parsed = json::parse_strict(line);
  if (!parsed) return no_qmp(parsed.error().message);
  if (!parsed->is_object()) return no_qmp("a reply is no object");
  if (parsed->find("event") != parsed->end()) return std::optional<std::string>();
  const auto value = parsed->find("return"), error = parsed->find("error");
  if ((value == parsed->end()) == (error == parsed->end()))
    return no_qmp("a reply is neither a value nor an error");
  const auto given = parsed->find("id");
  // A command that could not be parsed is refused without its id: then it is about ours, the only one under
  // way.
  const bool is_ours = given == parsed->end()
                           ? error != parsed->end()
                           : given->is_number_unsigned() && given->get<std::uint64_t>() == id;
  if (!is_ours) return std::optional<std::string>();
  if (value != parsed->end()) return std::optional<std::string>(json::dump(*value));
  const auto why = json::get_string(*error, "desc");
  return Error::failed(ErrorCode::generic,
                       "QEMU refuses: " + (why ? why->substr(0, max_text) : "without a reason"));
}

Result<std::string> read_run_state(const std::string& value) {
  const auto parsed = json::parse_strict(value);
  if (!parsed) return no_qmp(parsed.error().message);
  const auto status = json::get_string(*parsed, "status");
  if (!status) return no_qmp("query-status tells no status");
  return *status;
}

}  // namespace skep::drivers::qemu
