#include "join/jar_fetch.h"

namespace skep::join {

Result<JarFetch> JarFetch::make(const std::string& url, const std::string& ca_file) {
  const std::size_t slash = url.rfind('/');
  if (slash == std::string::npos)
    return Error::failed(ErrorCode::invalid_input, "\"" + url + "\" is no address");
  http::ClientOptions options;
  options.base_url = url.substr(0, slash + 1);
  options.ca_file = ca_file;
  options.user_agent = "skep-join";
  options.total_timeout = jar_deadline;
  options.max_reply_bytes = max_jar_bytes;
  options.ask_for_gzip = false;  // a jar is compressed
  auto client = http::make_client(options);
  if (!client) return client.error();
  return JarFetch(std::move(*client), url);
}

Result<std::string> JarFetch::run() const {
  http::Request request;
  request.target = url_.substr(url_.rfind('/') + 1);
  auto reply = client_->call(request);
  if (!reply) {
    // Nothing is changed by a GET, so an unknown outcome may be tried again too.
    const bool is_final =
        reply.error().outcome == Outcome::failed || reply.error().code == ErrorCode::too_large;
    if (is_final) return Error::failed(reply.error().code, reply.error().message);
    return Error::try_again(reply.error().code, reply.error().message);
  }
  const std::string answered = url_ + " answered " + std::to_string(reply->status);
  if (reply->status >= 500 || reply->status == 429) return Error::try_again(ErrorCode::unavailable, answered);
  if (reply->status != 200) return Error::failed(ErrorCode::malformed_reply, answered);
  if (reply->body.compare(0, 2, "PK") != 0) {
    return Error::failed(ErrorCode::malformed_reply, url_ + " did not answer with a jar",
                         "is a proxy or a login page in between?");
  }
  return std::move(reply->body);
}

}  // namespace skep::join
