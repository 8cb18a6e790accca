// HTTP as the rest of Skep sees it: plain values. No type of cpprest or Beast crosses this boundary.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/bounds.h"
#include "core/result.h"
#include "core/time.h"

namespace skep::http {

using Headers = std::vector<std::pair<std::string, std::string>>;  // names compare without case
/// First value of that header, or "".
std::string header_value(const Headers& headers, const std::string& name);

struct Request {
  std::string method = "GET";
  std::string target;  // path and query below the client's base, no leading slash; already percent-encoded
  Headers headers;
  std::string body;
  std::string content_type;
  /// A POST that does no harm when it is sent twice: it may go over a kept connection.
  bool is_repeatable = false;
};

struct Reply {
  int status = 0;
  Headers headers;
  std::string body;  // decompressed
};

std::string percent_encode(const std::string& text);  // everything but unreserved characters
std::string form_encode(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace skep::http
