// Requests: who asks, may they, and which page answers. Replies look as the recordings 01, 02 and 14 do.
#include <algorithm>

#include "simulation/controller/exported.h"
#include "simulation/controller/permissions.h"
#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

constexpr const char* html_utf8 = "text/html;charset=utf-8";
constexpr const char* html_latin1 = "text/html;charset=iso-8859-1";

std::string cookie_value(const std::string& header) {
  for (const std::string& part : split(header, ';')) {
    const std::size_t start = part.find_first_not_of(' ');
    const std::size_t equals = part.find('=');
    if (start == std::string::npos || equals == std::string::npos) continue;
    if (part.compare(start, 10, "JSESSIONID") == 0) return part.substr(equals + 1);
  }
  return {};
}

bool is_public(const std::vector<std::string>& segments) {
  if (segments.empty()) return false;
  const std::string& first = segments.front();
  return first == "login" || first == "jnlpJars" || first == "swarm" || first == "wsagents" ||
         first == "whoAmI" || first == "crumbIssuer" || first == "j_spring_security_check" ||
         first == "tcpSlaveAgentListener";
}

}  // namespace

std::string ParsedRequest::header(std::string_view name) const {
  for (const auto& [key, value] : raw->headers) {
    if (equal_ignoring_case(key, name)) return value;
  }
  return {};
}

bool State::has(const Caller& caller, std::string_view permission) const {
  if (caller.name.empty()) return grants(options.anonymous_permissions, permission);
  for (const User& user : options.users) {
    if (user.name == caller.name) return grants(user.permissions, permission);
  }
  return false;
}

/// What nobody in particular gets: a small page that leads to the login form.
HttpReply State::login_required(const ParsedRequest& request) {
  const std::string& target = request.raw->target;
  std::string from;
  for (const char c : target)
    from += c == '/' ? "%2F" : c == '?' ? "%3F" : c == '=' ? "%3D" : std::string(1, c);
  const std::string form = local("login?from=" + from);
  HttpReply reply = page(403, "", "", "", 0);
  reply.headers.erase(reply.headers.begin() + 3);  // nothing about caching
  reply.body =
      "<html><head><meta http-equiv='refresh' content='1;url=" + form +
      "'/><script id='redirect' data-redirect-url='" + form + "' src='" +
      local("static/" + session_id + "/scripts/redirect.js") +
      "'></script></head><body style='background-color:white; color:white;'>Authentication required<!--\n"
      "You are authenticated as: anonymous\nGroups that you are in:\n\n"
      "Permission you need to have (but didn't): hudson.model.Hudson.Read\n"
      " ... which is implied by: hudson.security.Permission.GenericRead\n"
      " ... which is implied by: hudson.model.Hudson.Administer\n-->\n</body></html>";
  return reply;
}

std::optional<HttpReply> State::require(const ParsedRequest& request, std::string_view permission) {
  if (has(request.caller, permission)) return std::nullopt;
  if (request.caller.name.empty()) {
    return login_required(request);
  }
  HttpReply reply = page(403, "Jenkins", "Access Denied",
                         request.caller.name + " is missing the " + std::string(permission) + " permission",
                         flag_in_node ? 9100 : 9259);
  const Permission* known = find_permission(permission);
  HeaderList extra{
      {"X-You-Are-Authenticated-As", request.caller.name},
      {"X-You-Are-In-Group-Disabled",
       "JENKINS-39402: use -Dhudson.security.AccessDeniedException2.REPORT_GROUP_HEADERS=true or use "
       "/whoAmI to diagnose"},
      {"X-Required-Permission", std::string(known->id)}};
  for (const std::string_view by : known->implied_by)
    extra.emplace_back("X-Permission-Implied-By", std::string(by));
  reply.headers.insert(reply.headers.begin() + 2, extra.begin(), extra.end());
  return reply;
}

std::string State::crumb_for(const Caller& caller) const {
  return digest64(options.seed, "crumb", caller.name + ";" + caller.session_cookie);
}

/// Fills request.caller, or answers 401 / 403 (no valid crumb).
std::optional<HttpReply> State::authenticate(ParsedRequest& request) {
  Caller& caller = request.caller;
  caller.session_cookie = cookie_value(request.header("Cookie"));
  const auto session = sessions.find(caller.session_cookie);
  const bool logged_in = session != sessions.end() && !session->second.empty();
  if (logged_in) caller.name = session->second;
  const std::string authorization = request.header("Authorization");
  // Before 2.5xx a logged-in session came first and the token was not looked at (recording 01).
  if (authorization.rfind("Basic ", 0) == 0 && (!logged_in || flag_in_node)) {
    const std::string decoded = base64_decode(std::string_view(authorization).substr(6)).value_or("");
    const std::size_t colon = decoded.find(':');
    const std::string name = decoded.substr(0, colon);
    const std::string secret = colon == std::string::npos ? "" : decoded.substr(colon + 1);
    bool known = false;
    for (const User& user : options.users) {
      if (user.name != name || secret.empty()) continue;
      caller.by_token = !user.token.empty() && secret == user.token;
      known = caller.by_token || secret == user.password;
    }
    if (logged_in) caller.session_cookie.clear();  // the token's user gets a session of his own
    if (!known) {
      HttpReply reply = jetty_error(401, "Unauthorized");
      reply.headers.insert(reply.headers.begin() + 1, {"WWW-Authenticate", "Basic realm=\"Jenkins\""});
      reply.headers.emplace_back(
          "Set-Cookie",
          "remember-me=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0" + same_site());
      return reply;
    }
    caller.name = name;
  }
  if (request.is_post() && !caller.by_token &&
      (request.segments.empty() || request.segments[0] != "j_spring_security_check")) {
    const std::string crumb = request.header("Jenkins-Crumb");
    const std::string given = crumb.empty() ? field_or(request.parameters, "Jenkins-Crumb", "") : crumb;
    if (!is_session(caller.session_cookie) || given != crumb_for(caller)) {
      return jetty_error(403, "No valid crumb was included in the request");
    }
  }
  return std::nullopt;
}

/// Whoever renders a page asks for the session; so do the crumb issuer and whoever checks a crumb.
bool State::starts_session(const ParsedRequest& request, const HttpReply& reply) const {
  const auto content_type = std::find_if(reply.headers.begin(), reply.headers.end(),
                                         [](const auto& header) { return header.first == "Content-Type"; });
  if (content_type != reply.headers.end() && content_type->second == html_utf8) return true;
  const bool has_checked_crumb = reply.status == 403 && !request.header("Jenkins-Crumb").empty();
  return has_checked_crumb || (!request.segments.empty() && request.segments[0] == "crumbIssuer");
}

HttpReply State::dispatch(const HttpRequest& raw) {
  ParsedRequest request;
  request.raw = &raw;
  request.method = raw.method;
  const std::size_t question = raw.target.find('?');
  std::string path = raw.target.substr(0, question);
  if (question != std::string::npos) request.query = parse_form(raw.target.substr(question + 1));
  request.parameters = request.query;
  if (request.header("Content-Type").find("x-www-form-urlencoded") != std::string::npos) {
    const Fields body = parse_form(raw.body);
    request.parameters.insert(request.parameters.end(), body.begin(), body.end());
  }
  if (path.rfind(options.path_prefix, 0) != 0) return jetty_error(404, "Not Found");
  path.erase(0, options.path_prefix.size());
  for (const std::string& part : split(path, '/')) {
    if (!part.empty()) request.segments.push_back(percent_decode(part, false));
  }
  HttpReply reply;
  if (auto refused = authenticate(request)) {
    reply = std::move(*refused);
  } else if (!is_public(request.segments) && !has(request.caller, "Overall/Read")) {
    if (request.segments.empty()) request.segments.emplace_back();
    reply = *require(request, "Overall/Read");
  } else {
    reply = route(request);
  }
  if (starts_session(request, reply) && !is_session(request.caller.session_cookie)) {
    std::string cookie =
        "node0" + digest64(options.seed, "cookie", std::to_string(next_session++)).substr(0, 24);
    if (!request.segments.empty() && request.segments[0] == "crumbIssuer" && reply.status == 200) {
      const std::string old_crumb = crumb_for(request.caller);
      request.caller.session_cookie = cookie;
      const std::size_t at_crumb = reply.body.find(old_crumb);
      if (at_crumb != std::string::npos)
        reply.body.replace(at_crumb, old_crumb.size(), crumb_for(request.caller));
    }
    sessions.emplace(cookie, "");
    reply.headers.emplace_back("Set-Cookie", "JSESSIONID=" + cookie + "; Path=/; HttpOnly" + same_site());
  }
  if (raw.method == "HEAD") {
    std::erase_if(reply.headers, [](const auto& header) { return header.first == "Vary"; });
    reply.headers.emplace_back("Content-Length", std::to_string(reply.body.size()));
    reply.body.clear();
  }
  return reply;
}

HttpReply State::route(const ParsedRequest& request) {
  const std::vector<std::string>& path = request.segments;
  const std::string first = path.empty() ? "" : path[0];
  if (first.empty()) return page(200, "Dashboard", "Welcome to Jenkins!", "", 113000);
  if (first == "login") return page(200, "Sign in", "Sign in to Jenkins", "", flag_in_node ? 1852 : 1737);
  if (first == "jnlpJars" || first == "swarm") {
    HttpReply reply = plain(200, "application/java-archive", "PK stand-in for " + path.back() + "\n");
    reply.headers.emplace_back("Content-Disposition", "attachment; filename=" + path.back());
    reply.headers.emplace_back("Last-Modified", "Mon, 23 Nov 2026 02:27:49 GMT");
    reply.headers.emplace_back("Accept-Ranges", "bytes");
    return reply;
  }
  if (first == "wsagents") {
    return plain(400, "text/plain;charset=utf-8",
                 "This endpoint is only for use from agent.jar in WebSocket mode");
  }
  if (first == "j_spring_security_check" && request.is_post()) {
    const std::string name = field_or(request.parameters, "j_username", "");
    for (const User& user : options.users) {
      if (user.name != name || user.password.empty() ||
          user.password != field_or(request.parameters, "j_password", ""))
        continue;
      const std::string cookie =
          "node0" + digest64(options.seed, "login", std::to_string(next_session++)).substr(0, 24);
      sessions[cookie] = name;
      HttpReply reply = redirect(local(""));
      reply.headers.emplace_back("Set-Cookie", "JSESSIONID=" + cookie + "; Path=/; HttpOnly" + same_site());
      return reply;
    }
    return redirect(local("loginError"));
  }
  if (first == "whoAmI" && request.asks_json(1)) {
    return exported(request, "hudson.security.WhoAmI", [&](JsonObject& out) {
      const bool anonymous = request.caller.name.empty();
      out.boolean("anonymous", anonymous);
      out.boolean("authenticated", true);
      out.texts("authorities", {anonymous ? "anonymous" : "authenticated"});
      out.text("name", anonymous ? "anonymous" : request.caller.name);
    });
  }
  if (first == "crumbIssuer" && path.size() == 3 && path[1] == "api") {
    const std::string crumb = crumb_for(request.caller);
    if (path[2] == "json") {
      return exported(request, "hudson.security.csrf.DefaultCrumbIssuer", [&](JsonObject& out) {
        out.text("crumb", crumb);
        out.text("crumbRequestField", "Jenkins-Crumb");
      });
    }
    HttpReply reply = json_reply("Jenkins-Crumb:" + crumb);
    reply.headers.back().second = "text/plain;charset=utf-8";
    return reply;
  }
  if (first == "api" && request.asks_json(0)) return read_root(request);
  if (first == "queue") return route_queue(request);
  if (first == "computer") return route_computer(request);
  if (first == "job") return route_job(request);
  if (first == "plugin" && path.size() == 3 && path[1] == "swarm") return route_swarm(request);
  if (first == "label" && request.asks_json(2)) return read_label(request, path[1]);
  if (first == "overallLoad" && request.asks_json(1)) return read_load(request);
  if (first == "scriptText" || first == "quietDown" || first == "cancelQuietDown" || first == "safeRestart") {
    if (!request.is_post()) return method_not_allowed();
    if (auto refused = require(request, "Overall/Administer")) return *refused;
    if (first == "scriptText") return script_text(request);
    if (first == "safeRestart") {
      begin_restart(true, milliseconds(3500), milliseconds(2500));
    } else {
      quieting_down = first == "quietDown";
      if (!quieting_down) schedule_maintenance();
    }
    return redirect(local(""));
  }
  return not_found();
}

// --- replies

HttpReply State::json_reply(std::string body) const {
  return {200,
          {{"Vary", "Accept-Encoding"},
           {"X-Content-Type-Options", "nosniff"},
           {"X-Jenkins", options.core_version},
           {"X-Jenkins-Session", session_id},
           {"X-Frame-Options", "deny"},
           {"Content-Type", "application/json;charset=utf-8"}},
          std::move(body)};
}

HttpReply State::exported(const ParsedRequest& request, std::string_view class_name,
                          const std::function<void(JsonObject&)>& fill) {
  std::string body;
  const auto tree = find_field(request.query, "tree");
  if (tree) {
    const auto parsed = parse_tree(*tree);
    if (!parsed) return export_error();
    JsonObject object(body, Pruner::by_tree(parsed.get()), class_name);
    fill(object);
  } else {
    const std::string depth = field_or(request.query, "depth", "0");
    if (depth.empty() || depth.find_first_not_of("0123456789") != std::string::npos || depth.size() > 4) {
      return export_error();
    }
    JsonObject object(body, Pruner::by_depth(std::stoi(depth)), class_name);
    fill(object);
  }
  return json_reply(std::move(body));
}

HttpReply State::redirect(std::string location) const {
  return {
      302,
      {{"Vary", "Accept-Encoding"}, {"X-Content-Type-Options", "nosniff"}, {"Location", std::move(location)}},
      ""};
}

HttpReply State::plain(int status, std::string_view content_type, std::string body) const {
  return {status,
          {{"Vary", "Accept-Encoding"},
           {"X-Content-Type-Options", "nosniff"},
           {"Content-Type", std::string(content_type)}},
          std::move(body)};
}

HttpReply State::empty(int status) const {
  return {status, {{"Vary", "Accept-Encoding"}, {"X-Content-Type-Options", "nosniff"}}, ""};
}

HttpReply State::page(int status, std::string_view title, std::string_view heading, std::string_view text,
                      std::size_t size) {
  std::string full_title(title);
  if (!full_title.empty() && full_title != "Jenkins")
    full_title += flag_in_node ? " - Jenkins" : " [Jenkins]";
  return {status,
          {{"Vary", "Accept-Encoding"},
           {"X-Content-Type-Options", "nosniff"},
           {"Content-Type", html_utf8},
           {"Cache-Control", "no-cache,no-store,must-revalidate"},
           {"X-Jenkins", options.core_version},
           {"X-Jenkins-Session", session_id}},
          html_page(full_title, heading, text, size)};
}

HttpReply State::not_found() {
  HttpReply reply = page(404, "Not Found", "Not Found",
                         "This page may not exist, or you may not have permission to see it.",
                         flag_in_node ? 84479 : 71974);
  reply.headers.erase(reply.headers.begin());  // no Vary: error pages stay uncompressed
  return reply;
}

HttpReply State::method_not_allowed() {
  return page(405, "Method Not Allowed", "", "", flag_in_node ? 86020 : 72586);
}

HttpReply State::server_error(int status, std::size_t size) {
  const std::string hex = digest64(options.seed, "logging",
                                   std::to_string(next_session) + std::to_string(to_ms(clock - wall_base)));
  const std::string id = hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-4" + hex.substr(12, 3) + "-8" +
                         hex.substr(15, 3) + "-" + hex.substr(18, 12);
  HttpReply reply =
      page(status, "Jenkins", "A problem occurred while processing the request", "Logging ID=" + id, size);
  const std::string plain_title = "<title>Jenkins</title>";
  reply.body.replace(reply.body.find(plain_title), plain_title.size(),
                     flag_in_node ? "<title>Jenkins - Jenkins</title>" : "<title>Jenkins [Jenkins]</title>");
  return reply;
}

/// A `tree` or `depth` that does not parse.
HttpReply State::export_error() {
  HttpReply reply = server_error(500, flag_in_node ? 7245 : 8032);
  reply.headers.erase(reply.headers.begin());  // no Vary
  return reply;
}

/// hudson.model.Failure: 400, a page, and the message in X-Error.
HttpReply State::failure(const std::string& message) {
  HttpReply reply = server_error(400, flag_in_node ? 84295 : 71856);
  const std::string heading = "A problem occurred while processing the request";
  const std::size_t at_heading = reply.body.find(heading);
  if (at_heading != std::string::npos) reply.body.replace(at_heading, heading.size(), "Error");
  const std::size_t at_id = reply.body.find("Logging ID=");
  if (at_id != std::string::npos) reply.body.erase(at_id, 47);
  reply.headers.insert(reply.headers.begin() + 2, {"X-Error", message});
  return reply;
}

HttpReply State::jetty_error(int status, const std::string& message) const {
  const std::size_t size = status == 401 ? 451 : status == 403 ? 562 : 500;
  return {status,
          {{"X-Content-Type-Options", "nosniff"},
           {"Cache-Control", "must-revalidate,no-cache,no-store"},
           {"Content-Type", html_latin1}},
          html_page("Error " + std::to_string(status) + " " + message, "HTTP ERROR " + std::to_string(status),
                    message, size)};
}

HttpReply State::starting_page() const {
  return {503,
          {{"Vary", "Accept-Encoding"},
           {"X-Content-Type-Options", "nosniff"},
           {"Cache-Control", "no-cache,no-store,must-revalidate"},
           {"Content-Type", html_utf8}},
          html_page("Starting Jenkins", "Starting Jenkins",
                    "Please wait while Jenkins is getting ready to work", 842)};
}

}  // namespace skep::controller_sim
