// What the routes of the scheduler's API read of requests, strictly, and how they answer. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/http/http_server.h"
#include "common/json/json.h"
#include "core/result.h"

namespace skep::scheduler {

http::ServerReply json_reply(const json::Json& value);
/// Its status follows from the code: not_found 404, conflict 409, invalid_input 400, else 500.
http::ServerReply error_reply(const Error& error);

/// A number of the query string, from 1 to `most`.
Result<std::int64_t> number_in(const http::ServerRequest& request, const std::string& name,
                               std::int64_t absent, std::int64_t most);
/// The body as an object; an empty body is an empty object.
Result<json::Json> body_of(const http::ServerRequest& request);
/// Unknown keys in what people send us are errors: a typo must not be a silent default.
Result<void> only_keys(const json::Json& body, const std::vector<std::string>& known);
/// "" without one; at most 500 bytes.
Result<std::string> reason_of(const json::Json& body);
/// False without one.
Result<bool> flag_of(const json::Json& body, const std::string& key);

}  // namespace skep::scheduler
