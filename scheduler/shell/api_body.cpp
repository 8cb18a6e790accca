#include "scheduler/shell/api_body.h"

#include <algorithm>
#include <charconv>

#include "common/json/agentd_codec.h"

namespace skep::scheduler {

using http::ServerReply;
using http::ServerRequest;
using json::Json;

ServerReply json_reply(const Json& value) {
  return {200, json::dump(value), "application/json", {}};
}

ServerReply error_reply(const Error& error) {
  const int status = error.code == ErrorCode::not_found       ? 404
                     : error.code == ErrorCode::conflict      ? 409
                     : error.code == ErrorCode::invalid_input ? 400
                                                              : 500;
  return {status, json::dump(json::encode_error(error)), "application/json", {}};
}

Result<std::int64_t> number_in(const ServerRequest& request, const std::string& name, std::int64_t absent,
                               std::int64_t most) {
  const auto given = request.query.find(name);
  if (given == request.query.end()) return absent;
  const std::string& text = given->second;
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < 1 || value > most)
    return Error::failed(ErrorCode::invalid_input,
                         "\"" + name + "\" is no number from 1 to " + std::to_string(most));
  return value;
}

Result<Json> body_of(const ServerRequest& request) {
  if (request.body.empty()) return Json::object();
  auto body = json::parse_strict(request.body);
  if (!body) return Error::failed(ErrorCode::invalid_input, "the body is " + body.error().message);
  if (!body->is_object()) return Error::failed(ErrorCode::invalid_input, "the body is no JSON object");
  return body;
}

Result<void> only_keys(const Json& body, const std::vector<std::string>& known) {
  for (const auto& [key, value] : body.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string list;
    for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
    return Error::failed(ErrorCode::invalid_input, "unknown key \"" + key + "\" in the body",
                         "known: " + list);
  }
  return {};
}

Result<std::string> reason_of(const Json& body) {
  if (!body.contains("reason") || body["reason"].is_null()) return std::string();
  if (!body["reason"].is_string()) return Error::failed(ErrorCode::invalid_input, "\"reason\" is no text");
  std::string reason = body["reason"].get<std::string>();
  if (reason.size() > 500)
    return Error::failed(ErrorCode::invalid_input, "\"reason\" is longer than 500 bytes");
  return reason;
}

Result<bool> flag_of(const Json& body, const std::string& key) {
  if (!body.contains(key)) return false;
  if (!body[key].is_boolean())
    return Error::failed(ErrorCode::invalid_input, "\"" + key + "\" is not true or false");
  return body[key].get<bool>();
}

}  // namespace skep::scheduler
