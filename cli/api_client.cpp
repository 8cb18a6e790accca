#include "cli/api_client.h"

#include <iostream>

#include "common/shell/files.h"

namespace skep::cli {

using json::Json;

namespace {

/// {"error":{"code","message","hint"}} as our servers send it.
Error error_of(const http::Reply& reply, const std::string& target) {
  const ErrorCode code = reply.status == 404                          ? ErrorCode::not_found
                         : reply.status == 401 || reply.status == 403 ? ErrorCode::unauthenticated
                         : reply.status == 409                        ? ErrorCode::conflict
                         : reply.status == 400                        ? ErrorCode::invalid_input
                         : reply.status == 503                        ? ErrorCode::unavailable
                                                                      : ErrorCode::generic;
  std::string message = "the scheduler answered " + std::to_string(reply.status) + " to " + target;
  std::string hint;
  if (const auto body = json::parse_strict(reply.body);
      body && body->is_object() && body->contains("error")) {
    const Json& error = (*body)["error"];
    if (auto text = json::get_string(error, "message")) message = *text;
    if (auto text = json::get_string(error, "hint")) hint = *text;
  }
  if (code == ErrorCode::unauthenticated && hint.empty()) hint = "give --token-file or set SKEP_TOKEN_FILE";
  return Error::failed(code, std::move(message), std::move(hint));
}

}  // namespace

Result<Json> ApiClient::get(const std::string& target) {
  http::Request request;
  request.target = target;
  return call(std::move(request));
}

Result<Json> ApiClient::post(const std::string& target, const Json& body) {
  http::Request request;
  request.method = "POST";
  request.target = target;
  request.body = json::dump(body);
  request.content_type = "application/json";
  return call(std::move(request));
}

Result<Json> ApiClient::call(http::Request request) {
  if (!client_) {
    http::ClientOptions options;
    options.base_url = options_.url;
    options.ca_file = options_.ca_file;
    options.total_timeout = options_.timeout;
    if (!options_.token_file.empty()) {
      auto token = shell::read_secret_file(options_.token_file);
      if (!token) return Error::failed(ErrorCode::invalid_input, token.error().message, token.error().hint);
      options.bearer_token = *token;
    }
    auto made = http::make_client(options);
    if (!made)
      return Error::failed(ErrorCode::invalid_input, made.error().message, "check --server and --ca-file");
    client_ = std::move(*made);
  }
  const std::string target = request.target;
  auto reply = client_->call(request);
  if (!reply) {
    Error error = reply.error();
    error.code = error.code == ErrorCode::timed_out ? ErrorCode::timed_out : ErrorCode::unavailable;
    error.message = "cannot reach the scheduler at " + options_.url + ": " + error.message;
    error.hint = "is skep-scheduler running there? Give its address with --server or SKEP_SERVER";
    return error;
  }
  if (reply->status >= 300) return error_of(*reply, target);
  auto parsed = json::parse_strict(reply->body);
  if (!parsed) {
    return Error::failed(ErrorCode::malformed_reply,
                         "what answers at " + options_.url + " is not a scheduler: " + parsed.error().message,
                         "check --server");
  }
  return parsed;
}

namespace {

int say(int code, const std::string& message, const std::string& hint) {
  std::cerr << "skep: " << message << "\n";
  if (!hint.empty()) std::cerr << "  " << hint << "\n";
  return code;
}

int exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::unavailable:
    case ErrorCode::timed_out:
    case ErrorCode::malformed_reply:
      return exit_unreachable;
    case ErrorCode::not_found:
      return exit_not_found;
    case ErrorCode::invalid_input:
      return exit_usage;
    case ErrorCode::conflict:
      return exit_refused;
    default:
      return exit_failed;
  }
}

}  // namespace

int report(const Error& error) {
  return say(exit_code_of(error.code), error.message, error.hint);
}

int report_usage(const std::string& message, const std::string& hint) {
  return say(exit_usage, message, hint);
}

int report_refused(const std::string& message, const std::string& hint) {
  return say(exit_refused, message, hint);
}

}  // namespace skep::cli
