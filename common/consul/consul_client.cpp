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

/// An agent that answers without a leader may show an old or empty catalogue.
Result<void> has_leader(const http::Reply& reply) {
  const std::string leader = http::header_value(reply.headers, "X-Consul-KnownLeader");
  if (leader == "true") return {};
  return Error::unknown(
      ErrorCode::unavailable,
      "Consul has no leader; what it lists may be old (X-Consul-KnownLeader is \"" + quoted(leader) + "\")");
}

/// Consul adds up to a sixteenth of the wait.
Duration limit_of(Duration wait) {
  return wait + wait / 16 + seconds(10);
}

std::string key_target(const std::string& key) {
  std::string target = "v1/kv/";
  for (std::size_t from = 0; from <= key.size();) {
    const std::size_t slash = std::min(key.find('/', from), key.size());
    target += (from == 0 ? "" : "/") + http::percent_encode(key.substr(from, slash - from));
    from = slash + 1;
  }
  return target;
}

std::string in_ms(Duration time) {
  return std::to_string(to_ms(time)) + "ms";
}

}  // namespace

Result<InstanceList> decode_instances(const http::Reply& reply) {
  if (reply.status != 200) return refusal(reply, "the service's hosts are not known");
  if (auto known = has_leader(reply); !known) return known.error();
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

Result<KeyReading> decode_key(const http::Reply& reply) {
  // Seen on 1.8.7: 404 has an empty body and the same headers as 200.
  if (reply.status != 200 && reply.status != 404) return refusal(reply, "the key is not known");
  if (auto known = has_leader(reply); !known) return known.error();
  const auto index = index_of(reply);
  if (!index) return index.error();
  KeyReading out{*index, std::nullopt};
  if (reply.status == 404) return out;
  const auto body = json::parse_strict(reply.body);
  if (!body) return odd(body.error().message);
  if (!body->is_array() || body->size() != 1 || !(*body)[0].is_object()) return odd("it is not one key");
  const Json& entry = (*body)[0];
  const Json* number = member(entry, "Flags");
  const Json* modified = member(entry, "ModifyIndex");
  if (number == nullptr || !number->is_number_unsigned()) return odd("a key has no Flags");
  if (modified == nullptr || !modified->is_number_unsigned()) return odd("a key has no ModifyIndex");
  out.key = Key{number->get<std::uint64_t>(), "", modified->get<std::uint64_t>()};
  if (const Json* session = member(entry, "Session"); session != nullptr) {
    if (!session->is_string()) return odd("a key's Session is no text");
    out.key->session = session->get<std::string>();
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
  const auto reply = call(std::move(request), limit_of(bounded));
  if (!reply) return reply.error();
  return decode_instances(*reply);
}

/// The calls that Consul answers with true or false.
Result<bool> Client::put(const std::string& target, std::string body, const std::string& what) {
  http::Request request;
  request.method = "PUT";
  request.target = target;
  request.body = std::move(body);
  const auto reply = call(std::move(request), call_limit);
  if (!reply) return reply.error();
  if (reply->status != 200) return refusal(*reply, what);
  const auto answer = json::parse_strict(reply->body);
  if (!answer || !answer->is_boolean()) return odd("neither true nor false: " + quoted(reply->body));
  return answer->get<bool>();
}

Result<std::string> Client::create_session(const std::string& name, const std::string& service_id,
                                           Duration lock_delay) {
  http::Request request;
  request.method = "PUT";
  request.target = "v1/session/create";
  request.content_type = "application/json";
  request.body = json::dump({{"Name", name},
                             {"LockDelay", in_ms(lock_delay)},
                             {"Behavior", "release"},
                             {"NodeChecks", {"serfHealth"}},
                             {"ServiceChecks", Json::array({{{"ID", "service:" + service_id}}})}});
  const auto reply = call(std::move(request), call_limit);
  if (!reply) return reply.error();
  if (reply->status != 200) return refusal(*reply, "no session was made");
  const auto body = json::parse_strict(reply->body);
  if (!body) return odd(body.error().message);
  auto id = json::get_string(*body, "ID");
  if (!id || id->empty()) return odd("a session without ID");
  return id;
}

Result<void> Client::destroy_session(const std::string& session) {
  const auto done =
      put("v1/session/destroy/" + http::percent_encode(session), "", "the session was not destroyed");
  if (!done) return done.error();
  return {};
}

Result<bool> Client::acquire(const std::string& key, const std::string& session, const std::string& value) {
  return put(key_target(key) + "?acquire=" + http::percent_encode(session), value,
             "the lock " + key + " was not acquired");
}

Result<KeyReading> Client::read_key(const std::string& key, std::uint64_t index, Duration wait) {
  const Duration bounded = std::clamp<Duration>(wait, Duration::zero(), longest_wait);
  http::Request request;
  request.target = key_target(key) + "?index=" + std::to_string(index) + "&wait=" + in_ms(bounded);
  const auto reply = call(std::move(request), limit_of(bounded));
  if (!reply) return reply.error();
  return decode_key(*reply);
}

Result<bool> Client::put_if_unchanged(const std::string& key, std::uint64_t number,
                                      std::uint64_t modify_index) {
  const std::string text = std::to_string(number);
  return put(key_target(key) + "?cas=" + std::to_string(modify_index) + "&flags=" + text, text,
             "the key " + key + " was not written");
}

}  // namespace skep::consul
