#include "tests/controller_sim/agent/agent_messages.h"

#include "common/json/json.h"

namespace skep::controller_sim {

std::string to_text(const AgentMessage& message) {
  json::Json object{{"build", message.run.build}};
  switch (message.type) {
    case AgentMessage::Type::run:
      object["type"] = "run";
      object["remote_fs"] = message.run.remote_fs;
      object["duration_ms"] = message.run.duration_ms;
      object["command"] = message.run.command;
      object["durable"] = message.run.durable;
      object["resume"] = message.run.resume;
      break;
    case AgentMessage::Type::stop:
      object["type"] = "stop";
      break;
    case AgentMessage::Type::done:
      object["type"] = "done";
      object["success"] = message.success;
      break;
  }
  return json::dump(object);
}

std::optional<AgentMessage> parse_agent_message(std::string_view text) {
  const auto parsed = json::parse_strict(text);
  if (!parsed || !parsed->is_object()) return std::nullopt;
  const auto type = json::get_string(*parsed, "type");
  const auto build = json::get_int64(*parsed, "build");
  if (!type || !build || *build < 0) return std::nullopt;
  AgentMessage message;
  message.run.build = static_cast<std::uint64_t>(*build);
  if (*type == "done") {
    message.type = AgentMessage::Type::done;
    const auto success = json::get_bool(*parsed, "success");
    message.success = success && *success;
  } else if (*type == "stop") {
    message.type = AgentMessage::Type::stop;
  } else if (*type == "run") {
    const auto remote_fs = json::get_string(*parsed, "remote_fs");
    const auto duration = json::get_int64(*parsed, "duration_ms");
    const auto command = json::get_string(*parsed, "command");
    const auto durable = json::get_bool(*parsed, "durable");
    const auto resume = json::get_bool(*parsed, "resume");
    if (!remote_fs || !duration || !command || !durable || !resume) return std::nullopt;
    message.run = {message.run.build, *remote_fs, *duration, *command, *durable, *resume};
  } else {
    return std::nullopt;
  }
  return message;
}

}  // namespace skep::controller_sim
