#include "scheduler/jenkins/answers.h"

#include <string_view>

#include "scheduler/jenkins/texts.h"

namespace skep::scheduler {
namespace {

bool is_from_jenkins(const http::Reply& reply) {
  return !http::header_value(reply.headers, "X-Jenkins").empty();
}

/// Target of a redirect without query and fragment.
std::string redirect_path(const http::Reply& reply) {
  const std::string location = http::header_value(reply.headers, "Location");
  return location.substr(0, location.find_first_of("?#"));
}

bool is_login(const http::Reply& reply) {
  const std::string path = redirect_path(reply);
  return path.find("login") != std::string::npos || path.find("securityRealm") != std::string::npos ||
         path.find("/oauth") != std::string::npos || path.find("/saml") != std::string::npos;
}

Error of_403(const http::Reply& reply, const std::string& what, Outcome refused) {
  if (const std::string permission = missing_permission(reply); !permission.empty()) {
    return {ErrorCode::permission_denied, refused, what + ": the account lacks " + permission,
            "grant " + permission + " in Jenkins"};
  }
  if (reply.body.find("No valid crumb") != std::string::npos) {
    return {ErrorCode::unauthenticated, refused, what + ": the controller wants a crumb (403)",
            "the token file holds a password: make an API token for the account"};
  }
  return {ErrorCode::permission_denied, refused, what + ": access is refused (403)",
          "give user and token_file of an account that may log in"};
}

Error of_redirect(const http::Reply& reply, const std::string& what, Asked asked, const std::string& status) {
  const std::string target = redirect_path(reply).substr(0, 120);
  if (is_login(reply)) {
    return {ErrorCode::unauthenticated, asked == Asked::order ? Outcome::failed : Outcome::unknown,
            what + ": sent to a login page (" + status + " to " + target + ")",
            "check user and token_file, and whether a proxy wants its own login"};
  }
  return Error::unknown(ErrorCode::malformed_reply,
                        what + ": sent elsewhere (" + status + " to " + target + ")",
                        "is the controller's url right, with its path prefix and its scheme?");
}

Error of_server_fault(const http::Reply& reply, const std::string& what, Asked asked,
                      const std::string& status) {
  // No X-Jenkins: a controller that is starting, or a proxy that reaches none. Nothing was done.
  if (reply.status == 503 && !is_from_jenkins(reply)) {
    return {ErrorCode::unavailable, asked == Asked::order ? Outcome::try_again : Outcome::unknown,
            what + ": the controller is starting or away (503)", ""};
  }
  return Error::unknown(ErrorCode::unavailable, what + ": the controller answered " + status);
}

}  // namespace

std::string missing_permission(const http::Reply& reply) {
  return reply.status == 403 ? permission_name(http::header_value(reply.headers, "X-Required-Permission"))
                             : "";
}

bool is_absent(const http::Reply& reply) {
  return reply.status == 404 && is_from_jenkins(reply);
}

Error error_of(const http::Reply& reply, const std::string& what, Asked asked) {
  const Outcome refused = asked == Asked::order ? Outcome::failed : Outcome::unknown;
  const std::string status = std::to_string(reply.status);
  if (reply.status == 401) {
    return {ErrorCode::unauthenticated, refused, what + ": the controller refuses the account (401)",
            "check user and token_file of this controller"};
  }
  if (reply.status == 403) return of_403(reply, what, refused);
  if (reply.status == 404) {
    const bool is_told = is_absent(reply);
    return {ErrorCode::not_found, refused,
            what + (is_told ? ": the controller knows no such thing (404)"
                            : ": nothing is at this address, and no Jenkins says so (404)"),
            is_told ? "" : "is the controller's url right, with its path prefix?"};
  }
  if (reply.status == 409)
    return {ErrorCode::conflict, refused, what + ": it is in conflict with what exists (409)", ""};
  if (reply.status == 429)
    return {ErrorCode::unavailable, asked == Asked::order ? Outcome::try_again : Outcome::unknown,
            what + ": too many requests (429)", ""};
  if (reply.status >= 300 && reply.status < 400) return of_redirect(reply, what, asked, status);
  if (reply.status >= 500) return of_server_fault(reply, what, asked, status);
  if (reply.status >= 400)
    return {ErrorCode::generic, refused, what + ": the controller refuses it (" + status + ")", ""};
  const std::string type = http::header_value(reply.headers, "Content-Type").substr(0, 60);
  return Error::unknown(ErrorCode::malformed_reply,
                        what + ": answered " + status + " with " + (type.empty() ? "no content type" : type) +
                            ", which is not what was asked for",
                        "is a proxy or login page in front of the controller?");
}

Result<void> check_json(const http::Reply& reply, const std::string& what) {
  const bool is_json = http::header_value(reply.headers, "Content-Type").starts_with("application/json");
  if (reply.status != 200 || !is_json) return error_of(reply, what, Asked::read);
  if (!is_from_jenkins(reply) || http::header_value(reply.headers, "X-Jenkins-Session").empty()) {
    return Error::unknown(ErrorCode::malformed_reply,
                          what + ": what answers is no Jenkins controller (no X-Jenkins header)",
                          "check the controller's url");
  }
  return {};
}

Result<void> check_node_order(const http::Reply& reply, const std::string& what) {
  if (reply.status != 302) return error_of(reply, what, Asked::order);
  const std::string target = redirect_path(reply);
  std::string_view path = target;
  if (path == "." || path == "..") return {};
  if (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with("/computer")) return {};
  const std::size_t name = path.rfind('/');
  if (name != std::string_view::npos && path.substr(0, name).ends_with("/computer")) return {};
  return error_of(reply, what, Asked::order);
}

Result<std::string> read_created(const http::Reply& reply, const std::string& node) {
  const std::string what = "creating node " + node;
  if (reply.status == 409)
    return Error::failed(ErrorCode::conflict, what + ": a node of this name exists already");
  if (is_absent(reply)) {
    return Error::failed(ErrorCode::not_found, what + ": the swarm plugin does not answer (404)",
                         "install the plugin \"swarm\" in Jenkins");
  }
  if (reply.status == 400)
    return Error::failed(ErrorCode::invalid_input,
                         what + ": the controller refuses the name or a field (400)");
  // Jenkins' own 500 is its answer to a wrong field; a proxy's says nothing.
  if (reply.status == 500 && is_from_jenkins(reply)) {
    return Error::failed(ErrorCode::generic, what + ": the controller failed (500)", "its log has the cause");
  }
  if (reply.status != 200) return error_of(reply, what, Asked::order);
  const auto properties = parse_properties(reply.body);
  const auto name = properties.find("name"), secret = properties.find("secret");
  if (secret == properties.end() || secret->second.empty()) {
    return Error::unknown(ErrorCode::malformed_reply, what + ": the answer holds no secret",
                          "swarm plugin 3.42 or newer is needed");
  }
  if (name == properties.end() || name->second != node) {
    return Error::unknown(ErrorCode::malformed_reply, what + ": the answer speaks of another node");
  }
  return secret->second;
}

}  // namespace skep::scheduler
