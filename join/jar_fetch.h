// Fetches agent.jar from a controller: for skep-join-fetch. The jar is served without
// login and without redirect at <controller>/jnlpJars/agent.jar, also while anonymous users may read nothing
// (seen on 2.479, 2.528).
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "common/http/http_client.h"
#include "core/result.h"
#include "core/time.h"

namespace skep::join {

inline constexpr std::size_t max_jar_bytes = 64u << 20;  // real ones have 1.4 MB
inline constexpr Duration jar_deadline = seconds(60);

class JarFetch {
 public:
  /// `ca_file`: PEM of a private CA; empty: the system's. invalid_input for an address or file that cannot be
  /// one.
  static Result<JarFetch> make(const std::string& url, const std::string& ca_file = {});
  /// The jar's bytes. Blocks up to jar_deadline. try_again: no answer, 5xx, 429. malformed_reply: the answer
  /// is no jar.
  Result<std::string> run() const;

 private:
  JarFetch(std::unique_ptr<http::Client> client, std::string url)
      : client_(std::move(client)), url_(std::move(url)) {}
  std::unique_ptr<http::Client> client_;
  std::string url_;
};

}  // namespace skep::join
