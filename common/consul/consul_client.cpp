#include "common/consul/consul_client.h"

#include <algorithm>
#include <charconv>

#include "common/json/json.h"
#include "common/shell/files.h"

namespace skep::consul {
namespace {

using json::Json;

constexpr Duration call_limit = seconds(3);
constexpr Duration longest_wait = seconds(90);
constexpr std::size_t quoted_bytes = 200;

/// Some of what a peer wrote, fit for one line of a log.
std::string quoted(const std::string& text) {
  std::string out = text.substr(0, quoted_bytes);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return out;
}

/// The three outcomes of a refusal; nothing at all was decided about the service.
Error refusal(const http::Reply& reply, const std::string& what) {
  const std::string text =
      what + ": Consul answered " + std::to_string(reply.status) + ": " + quoted(reply.body);
  if (reply.status == 401 || reply.status == 403) {
    return Error::failed(ErrorCode::permission_denied, text,
                         "check registry.token_file and the token's policies");
  }
  if (reply.status >= 500 || reply.status == 429) return Error::unknown(ErrorCode::unavailable, text);
  return Error::failed(ErrorCode::generic, text);
}

Error odd(const std::string& what) {
  return Error::unknown(ErrorCode::malformed_reply, "Consul's reply is odd: " + what);
}

Result<std::uint64_t> index_of(const http::Reply& reply) {
  const std::string text = http::header_value(reply.headers, "X-Consul-Index");
  std::uint64_t index = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size())
    return odd("X-Consul-Index is \"" + quoted(text) + "\"");
  return index;
}

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

Result<std::map<std::string, std::string>> decode_meta(const Json& service) {
  std::map<std::string, std::string> meta;
  const Json* value = member(service, "Meta");
  if (value == nullptr || value->is_null()) return meta;
  if (!value->is_object()) return odd("Service.Meta is no object");
  for (const auto& [key, text] : value->items()) {
    if (!text.is_string()) return odd("Service.Meta has a value that is no text");
    meta[key] = text.get<std::string>();
  }
  return meta;
}

Result<Health> decode_health(const Json& entry) {
  const Json* checks = member(entry, "Checks");
  if (checks == nullptr || !checks->is_array()) return odd("Checks is no list");
  Health worst = Health::passing;
  for (const Json& check : *checks) {
    if (!check.is_object()) return odd("a check is no object");
    const auto status = json::get_string(check, "Status");
    if (!status) return odd("a check's " + status.error().message);
    if (*status == "critical") {
      worst = Health::critical;
    } else if (*status == "warning") {
      worst = std::max(worst, Health::warning);
    } else if (*status != "passing") {
      return odd("the status of a check is \"" + quoted(*status) + "\"");
    }
  }
  return worst;
}

Result<Instance> decode_instance(const Json& entry) {
  if (!entry.is_object()) return odd("an entry is no object");
  const Json* node = member(entry, "Node");
  const Json* service = member(entry, "Service");
  if (node == nullptr || !node->is_object() || service == nullptr || !service->is_object())
    return odd("an entry has no Node or no Service");
  Instance out;
  const auto id = json::get_string(*service, "ID");
  const auto address = json::get_string(*service, "Address");
  const auto port = json::get_int64(*service, "Port");
  const auto modified = json::get_int64(*service, "ModifyIndex");
  if (!id || id->empty()) return odd("a service has no ID");
  if (!address) return odd("service " + quoted(*id) + ": " + address.error().message);
  if (!port || *port < 0 || *port > 65535) return odd("service " + quoted(*id) + " has no usable Port");
  if (!modified || *modified < 0) return odd("service " + quoted(*id) + " has no ModifyIndex");
  out.id = *id;
  out.address = *address;
  out.port = static_cast<int>(*port);
  out.modify_index = static_cast<std::uint64_t>(*modified);
  if (out.address.empty()) {
    const auto of_node = json::get_string(*node, "Address");
    if (!of_node || of_node->empty()) return odd("service " + quoted(*id) + " and its node have no address");
    out.address = *of_node;
  }
  auto meta = decode_meta(*service);
  if (!meta) return meta.error();
  out.meta = std::move(*meta);
  const auto health = decode_health(entry);
  if (!health) return health.error();
  out.health = *health;
  return out;
}

std::string in_ms(Duration time) {
  return std::to_string(to_ms(time)) + "ms";
}

}  // namespace

Result<InstanceList> decode_instances(const http::Reply& reply) {
  if (reply.status != 200) return refusal(reply, "the service's hosts are not known");
  // An agent that answers without a leader may show an old or empty catalogue.
  const std::string leader = http::header_value(reply.headers, "X-Consul-KnownLeader");
  if (leader != "true") {
    return Error::unknown(ErrorCode::unavailable,
                          "Consul has no leader; what it lists may be old (X-Consul-KnownLeader is \"" +
                              quoted(leader) + "\")");
  }
  // A token without rights sees a shorter list, which newer versions say.
  if (http::header_value(reply.headers, "X-Consul-Results-Filtered-By-ACLs") == "true") {
    return Error::failed(ErrorCode::permission_denied, "Consul does not show all hosts to this token",
                         "give it service:read and node:read");
  }
  InstanceList out;
  const auto index = index_of(reply);
  if (!index) return index.error();
  out.index = *index;
  const auto body = json::parse_strict(reply.body);
  if (!body) return odd(body.error().message);
  if (!body->is_array()) return odd("it is no list");
  if (body->size() > bounds::max_hosts) return odd("it lists " + std::to_string(body->size()) + " services");
  for (const Json& entry : *body) {
    auto instance = decode_instance(entry);
    if (!instance) return instance.error();
    out.instances.push_back(std::move(*instance));
  }
  return out;
}

Result<std::unique_ptr<Client>> Client::make(const Access& access) {
  std::string token;
  if (!access.token_file.empty()) {
    auto read = shell::read_secret_file(access.token_file);
    if (!read) return read.error();
    token = std::move(*read);
    if (token.find_first_of("\r\n") != std::string::npos)
      return Error::failed(ErrorCode::invalid_input, access.token_file + " holds more than one line");
  }
  http::ClientOptions options;
  options.base_url = access.address;
  options.ca_file = access.ca_file;
  options.user_agent = "skep";
  options.total_timeout = call_limit;
  auto http = http::make_client(std::move(options));
  if (!http) return http.error();
  return std::make_unique<Client>(std::move(*http), std::move(token));
}

Client::Client(std::unique_ptr<http::Client> http, std::string token)
    : http_(std::move(http)), token_(std::move(token)) {}

Result<http::Reply> Client::call(http::Request request, Duration limit) {
  if (!token_.empty()) request.headers.emplace_back("X-Consul-Token", token_);
  return http_->call(request, limit);
}

Result<void> Client::register_service(const Registration& registration) {
  Json meta = Json::object();
  for (const auto& [key, value] : registration.meta) {
    if (value.size() <= max_meta_value_bytes && meta.size() < max_meta_keys) meta[key] = value;
  }
  http::Request request;
  request.method = "PUT";
  request.target = "v1/agent/service/register";
  request.content_type = "application/json";
  // Passing from the start: who registers is alive; a new entry would be critical for a moment otherwise.
  request.body = json::dump({{"ID", registration.id},
                             {"Name", registration.service},
                             {"Address", registration.address},
                             {"Port", registration.port},
                             {"Meta", std::move(meta)},
                             {"Check",
                              {{"TTL", in_ms(registration.ttl)},
                               {"Status", "passing"},
                               {"DeregisterCriticalServiceAfter", in_ms(registration.remove_after)}}}});
  const auto reply = call(std::move(request), call_limit);
  if (!reply) return reply.error();
  if (reply->status != 200) return refusal(*reply, "service " + registration.id + " is not registered");
  return {};
}

Result<void> Client::deregister_service(const std::string& id, Duration limit) {
  http::Request request;
  request.method = "PUT";
  request.target = "v1/agent/service/deregister/" + http::percent_encode(id);
  const auto reply = call(std::move(request), limit);
  if (!reply) return reply.error();
  // 404: newer versions say so of what is not there (any more).
  if (reply->status != 200 && reply->status != 404)
    return refusal(*reply, "service " + id + " is not deregistered");
  return {};
}

Result<bool> Client::pass_check(const std::string& service_id) {
  http::Request request;
  request.method = "PUT";
  request.target = "v1/agent/check/pass/" + http::percent_encode("service:" + service_id);
  const auto reply = call(std::move(request), call_limit);
  if (!reply) return reply.error();
  if (reply->status == 200) return true;
  // 1.8: 500 "CheckID ... does not have associated TTL"; later: 404 "Unknown check ID ...".
  const bool is_lost = reply->status == 404 ||
                       (reply->status == 500 && reply->body.find("associated TTL") != std::string::npos);
  if (is_lost) return false;
  return refusal(*reply, "the check of service " + service_id + " was not passed");
}

Result<InstanceList> Client::read_service(const std::string& service, std::uint64_t index, Duration wait) {
  const Duration bounded = std::clamp<Duration>(wait, Duration::zero(), longest_wait);
  http::Request request;
  request.target = "v1/health/service/" + http::percent_encode(service) + "?index=" + std::to_string(index) +
                   "&wait=" + in_ms(bounded);
  // Consul adds up to a sixteenth of the wait.
  const auto reply = call(std::move(request), bounded + bounded / 16 + seconds(10));
  if (!reply) return reply.error();
  return decode_instances(*reply);
}

}  // namespace skep::consul
