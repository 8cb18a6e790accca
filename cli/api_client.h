// The scheduler's API as `skep` uses it: one call, one JSON answer, one clear error. Not thread-safe.
#pragma once

#include <memory>
#include <string>

#include "common/http/http_client.h"
#include "common/json/json.h"

namespace skep::cli {

/// What `skep` ends with; documented in `skep --help` and docs/operations/exit-codes.md.
enum ExitCode {
  exit_ok = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_unreachable = 3,
  exit_not_found = 4,
  exit_timed_out = 5,
  exit_invalid_config = 6,
  exit_refused = 7
};

struct ConnectionOptions {
  std::string url = "http://127.0.0.1:7070/";
  std::string token_file;
  std::string ca_file;
  Duration timeout = seconds(10);
};

class ApiClient {
 public:
  explicit ApiClient(ConnectionOptions options) : options_(std::move(options)) {}
  Result<json::Json> get(const std::string& target);
  Result<json::Json> post(const std::string& target, const json::Json& body);
  const std::string& url() const { return options_.url; }

 private:
  Result<json::Json> call(http::Request request);
  ConnectionOptions options_;
  std::unique_ptr<http::Client> client_;
};

/// Prints "skep: message" and the hint to stderr; returns the exit code that fits.
int report(const Error& error);
/// Something was typed wrongly: exit_usage.
int report_usage(const std::string& message, const std::string& hint = {});
/// Nothing was done because it destroys much and --yes was not said.
int report_refused(const std::string& message, const std::string& hint);

}  // namespace skep::cli
