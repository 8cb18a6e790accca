#include "common/json/agentd_codec.h"

#include <array>

namespace skep::json {
namespace {

constexpr std::array all_codes{
    ErrorCode::generic,         ErrorCode::invalid_input, ErrorCode::not_found,
    ErrorCode::conflict,        ErrorCode::stale_epoch,   ErrorCode::permission_denied,
    ErrorCode::unauthenticated, ErrorCode::unavailable,   ErrorCode::timed_out,
    ErrorCode::malformed_reply, ErrorCode::too_large,     ErrorCode::out_of_resources,
    ErrorCode::unsupported};

/// Reads typed fields of one object and remembers the first problem; the fields after it keep their defaults.
class Fields {
 public:
  explicit Fields(const Json& in, std::string where) : in_(in), where_(std::move(where)) {
    if (!in.is_object()) problem_ = where_ + " is no object";
  }
  void text(const char* key, std::string& out, bool is_required = false) {
    if (const Json* value = find(key, is_required))
      value->is_string() ? void(out = value->get<std::string>()) : wrong(key, "a text");
  }
  template <typename Id>
  void id(const char* key, Id& out) {
    text(key, out.text, true);
  }
  void flag(const char* key, bool& out) {
    if (const Json* value = find(key, false))
      value->is_boolean() ? void(out = value->get<bool>()) : wrong(key, "true or false");
  }
  template <typename Number>
  void number(const char* key, Number& out, bool is_required = false) {
    const Json* value = find(key, is_required);
    if (value == nullptr) return;
    if (!value->is_number_integer()) return wrong(key, "a whole number");
    if (!value->is_number_unsigned() && value->get<std::int64_t>() < 0 && std::is_unsigned_v<Number>)
      return wrong(key, "0 or more");
    const bool is_too_big =
        value->is_number_unsigned() &&
        value->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<Number>::max());
    const bool is_too_small =
        !value->is_number_unsigned() && !std::is_unsigned_v<Number> &&
        value->get<std::int64_t>() < static_cast<std::int64_t>(std::numeric_limits<Number>::min());
    if (is_too_big || is_too_small) return wrong(key, "a number in range");
    out = value->get<Number>();
  }
  void duration(const char* key, Duration& out) {
    std::int64_t ms = to_ms(out);
    number(key, ms);
    if (ms < 0 || ms > 10'000LL * 86'400'000) return wrong(key, "a duration from 0 to 10,000 days");
    out = milliseconds(ms);
  }
  template <typename Map>
  void map(const char* key, Map& out) {
    const Json* value = find(key, false);
    if (value == nullptr) return;
    if (!value->is_object()) return wrong(key, "an object");
    for (const auto& [name, entry] : value->items()) {
      if constexpr (std::is_same_v<typename Map::mapped_type, std::string>) {
        if (!entry.is_string()) return wrong(key, "an object of texts");
        out[name] = entry.template get<std::string>();
      } else {
        if (!entry.is_number_integer()) return wrong(key, "an object of whole numbers");
        out[name] = entry.template get<std::int64_t>();
      }
    }
  }
  void texts(const char* key, std::vector<std::string>& out) {
    const Json* value = find(key, false);
    if (value == nullptr) return;
    if (!value->is_array()) return wrong(key, "a list");
    for (const Json& entry : *value) {
      if (!entry.is_string()) return wrong(key, "a list of texts");
      out.push_back(entry.get<std::string>());
    }
  }
  template <typename T>
  void object(const char* key, T& out, Result<T> (*decode)(const Json&), bool is_required = false) {
    if (const Json* value = find(key, is_required)) take(out, decode(*value));
  }
  template <typename T>
  void list(const char* key, std::vector<T>& out, Result<T> (*decode)(const Json&)) {
    const Json* value = find(key, false);
    if (value == nullptr) return;
    if (!value->is_array()) return wrong(key, "a list");
    for (const Json& entry : *value) {
      out.emplace_back();
      take(out.back(), decode(entry));
    }
  }
  void wrong(const char* key, const std::string& wanted) {
    if (problem_.empty()) problem_ = where_ + ": \"" + key + "\" is not " + wanted;
  }
  template <typename T>
  Result<T> result(T value) const {
    if (!problem_.empty()) return Error::failed(ErrorCode::invalid_input, problem_);
    return value;
  }

 private:
  const Json* find(const char* key, bool is_required) {
    if (!problem_.empty()) return nullptr;
    const auto found = in_.find(key);
    if (found != in_.end() && !found->is_null()) return &*found;
    if (is_required) problem_ = where_ + ": \"" + key + "\" is missing";
    return nullptr;
  }
  template <typename T>
  void take(T& out, Result<T> value) {
    if (value) {
      out = std::move(*value);
    } else if (problem_.empty()) {
      problem_ = where_ + ": " + value.error().message;
    }
  }
  const Json& in_;
  std::string where_;
  std::string problem_;
};

Result<Ticket> decode_ticket(const Json& in) {
  Fields fields(in, "ticket");
  Ticket ticket;
  fields.text("url", ticket.url, true);
  fields.text("node_name", ticket.node_name, true);
  fields.text("secret", ticket.secret, true);
  fields.number("attempt", ticket.attempt);
  return fields.result(std::move(ticket));
}

Result<LeaseRenewal::Entry> decode_lease_entry(const Json& in) {
  Fields fields(in, "lease");
  LeaseRenewal::Entry entry;
  fields.id("id", entry.id);
  fields.flag("is_busy", entry.is_busy);
  return fields.result(std::move(entry));
}

}  // namespace

Json encode(const Resources& resources) {
  return {{"cpu_millis", resources.cpu_millis},
          {"memory_bytes", resources.memory_bytes},
          {"disk_bytes", resources.disk_bytes},
          {"countable", resources.countable}};
}

Json encode(const ExecutorSpec& spec) {
  return {{"id", spec.id.text},
          {"template", spec.template_name.text},
          {"driver", spec.driver},
          {"image", spec.image},
          {"network", spec.network},
          {"start", to_string(spec.start)},
          {"resources", encode(spec.resources)},
          {"agent_command", spec.agent_command},
          {"environment", spec.environment},
          {"boot_deadline_ms", to_ms(spec.boot_deadline)},
          {"join_deadline_ms", to_ms(spec.join_deadline)},
          {"stop_grace_ms", to_ms(spec.stop_grace)}};
}

Json encode(const ExecutorOrder& order) {
  return {{"epoch", order.epoch},
          {"spec", encode(order.spec)},
          {"ticket",
           {{"url", order.ticket.url},
            {"node_name", order.ticket.node_name},
            {"secret", order.ticket.secret},
            {"attempt", order.ticket.attempt}}},
          {"lease_ms", to_ms(order.lease)},
          {"is_busy", order.is_busy}};
}

Json encode(const ExecutorReport& report) {
  Json out{{"id", report.id.text},
           {"template", report.template_name.text},
           {"state", std::string(to_string(report.state))},
           {"agent", std::string(to_string(report.agent))},
           {"ticket_attempt", report.ticket_attempt},
           {"epoch", report.epoch},
           {"message", report.message},
           {"created_at_ms", report.created_at.ms_since_epoch},
           {"is_lease_expired", report.is_lease_expired},
           {"resources", encode(report.resources)}};
  if (report.agent_exit_code) out["agent_exit_code"] = *report.agent_exit_code;
  return out;
}

Json encode(const HostReport& report) {
  Json executors = Json::array();
  for (const ExecutorReport& executor : report.executors) executors.push_back(encode(executor));
  return {{"host", report.host.text},
          {"index", report.index},
          {"boot_id", report.boot_id},
          {"version", report.version},
          {"os", report.os},
          {"arch", report.arch},
          {"drivers", report.drivers},
          {"images", report.images},
          {"attributes", report.attributes},
          {"capacity", encode(report.capacity)},
          {"max_executors", report.max_executors},
          {"is_draining", report.is_draining},
          {"drain_reason", report.drain_reason},
          {"epoch_seen", report.epoch_seen},
          {"executors", std::move(executors)}};
}

Json encode(const LeaseRenewal& renewal) {
  Json entries = Json::array();
  for (const LeaseRenewal::Entry& entry : renewal.executors)
    entries.push_back({{"id", entry.id.text}, {"is_busy", entry.is_busy}});
  return {{"epoch", renewal.epoch},
          {"lease_ms", to_ms(renewal.lease)},
          {"executors", std::move(entries)},
          {"number", renewal.number}};
}

Json encode(const LeaseReply& reply) {
  Json ids = Json::array();
  for (const ExecutorId& id : reply.not_here) ids.push_back(id.text);
  Json leaving = Json::array();
  for (const ExecutorId& id : reply.leaving) leaving.push_back(id.text);
  return {{"epoch_seen", reply.epoch_seen}, {"not_here", std::move(ids)}, {"leaving", std::move(leaving)}};
}

Json encode(const HostAnnouncement& announcement) {
  return {{"host", announcement.host.text},
          {"agentd_url", announcement.agentd_url},
          {"boot_id", announcement.boot_id},
          {"ttl_ms", to_ms(announcement.ttl)}};
}

Json encode_error(const Error& error, Epoch epoch_seen) {
  return {{"error",
           {{"code", to_string(error.code)},
            {"outcome", to_string(error.outcome)},
            {"message", error.message},
            {"hint", error.hint}}},
          {"epoch", epoch_seen}};
}

Result<Resources> decode_resources(const Json& in) {
  Fields fields(in, "resources");
  Resources out;
  fields.number("cpu_millis", out.cpu_millis);
  fields.number("memory_bytes", out.memory_bytes);
  fields.number("disk_bytes", out.disk_bytes);
  fields.map("countable", out.countable);
  for (const auto& [name, count] : out.countable) {
    if (count < 0) fields.wrong("countable", "free of negative numbers");
  }
  if (out.cpu_millis < 0) fields.wrong("cpu_millis", "0 or more");
  if (out.memory_bytes < 0) fields.wrong("memory_bytes", "0 or more");
  if (out.disk_bytes < 0) fields.wrong("disk_bytes", "0 or more");
  return fields.result(std::move(out));
}

Result<ExecutorSpec> decode_executor_spec(const Json& in) {
  Fields fields(in, "spec");
  ExecutorSpec out;
  fields.id("id", out.id);
  fields.id("template", out.template_name);
  fields.text("driver", out.driver, true);
  fields.text("image", out.image);
  fields.text("network", out.network);
  std::string start(to_string(out.start));
  fields.text("start", start);
  if (const auto mode = start_mode_from(start)) {
    out.start = *mode;
  } else {
    fields.wrong("start", "cold or warm_clone");
  }
  fields.object("resources", out.resources, decode_resources);
  fields.texts("agent_command", out.agent_command);
  fields.map("environment", out.environment);
  fields.duration("boot_deadline_ms", out.boot_deadline);
  fields.duration("join_deadline_ms", out.join_deadline);
  fields.duration("stop_grace_ms", out.stop_grace);
  return fields.result(std::move(out));
}

Result<ExecutorOrder> decode_executor_order(const Json& in) {
  Fields fields(in, "order");
  ExecutorOrder out;
  fields.number("epoch", out.epoch, true);
  fields.object("spec", out.spec, decode_executor_spec, true);
  fields.object("ticket", out.ticket, decode_ticket, true);
  fields.duration("lease_ms", out.lease);
  fields.flag("is_busy", out.is_busy);
  return fields.result(std::move(out));
}

Result<ExecutorReport> decode_executor_report(const Json& in) {
  Fields fields(in, "executor");
  ExecutorReport out;
  std::string state, agent = "none";
  fields.id("id", out.id);
  fields.text("template", out.template_name.text);
  fields.text("state", state, true);
  fields.text("agent", agent);
  fields.number("ticket_attempt", out.ticket_attempt);
  fields.number("epoch", out.epoch);
  fields.text("message", out.message);
  fields.number("created_at_ms", out.created_at.ms_since_epoch);
  fields.flag("is_lease_expired", out.is_lease_expired);
  fields.object("resources", out.resources, decode_resources);
  if (in.is_object() && in.contains("agent_exit_code") && !in["agent_exit_code"].is_null()) {
    int code = 0;
    fields.number("agent_exit_code", code);
    out.agent_exit_code = code;
  }
  if (const auto known = executor_state_from(state)) {
    out.state = *known;
  } else {
    fields.wrong("state", "a known state");
  }
  if (const auto known = agent_phase_from(agent)) {
    out.agent = *known;
  } else {
    fields.wrong("agent", "a known phase");
  }
  return fields.result(std::move(out));
}

Result<HostReport> decode_host_report(const Json& in) {
  Fields fields(in, "host report");
  HostReport out;
  fields.id("host", out.host);
  fields.number("index", out.index, true);
  fields.text("boot_id", out.boot_id);
  fields.text("version", out.version);
  fields.text("os", out.os);
  fields.text("arch", out.arch);
  fields.texts("drivers", out.drivers);
  fields.texts("images", out.images);
  fields.map("attributes", out.attributes);
  fields.object("capacity", out.capacity, decode_resources);
  fields.number("max_executors", out.max_executors);
  fields.flag("is_draining", out.is_draining);
  fields.text("drain_reason", out.drain_reason);
  fields.number("epoch_seen", out.epoch_seen);
  fields.list("executors", out.executors, decode_executor_report);
  return fields.result(std::move(out));
}

Result<LeaseRenewal> decode_lease_renewal(const Json& in) {
  Fields fields(in, "lease renewal");
  LeaseRenewal out;
  fields.number("epoch", out.epoch, true);
  fields.duration("lease_ms", out.lease);
  fields.list("executors", out.executors, decode_lease_entry);
  fields.number("number", out.number);
  return fields.result(std::move(out));
}

Result<LeaseReply> decode_lease_reply(const Json& in) {
  Fields fields(in, "lease reply");
  LeaseReply out;
  std::vector<std::string> ids, leaving;
  fields.number("epoch_seen", out.epoch_seen);
  fields.texts("not_here", ids);
  fields.texts("leaving", leaving);
  for (std::string& id : ids) out.not_here.emplace_back(std::move(id));
  for (std::string& id : leaving) out.leaving.emplace_back(std::move(id));
  return fields.result(std::move(out));
}

Result<HostAnnouncement> decode_host_announcement(const Json& in) {
  Fields fields(in, "announcement");
  HostAnnouncement out;
  fields.id("host", out.host);
  fields.text("agentd_url", out.agentd_url, true);
  fields.text("boot_id", out.boot_id);
  fields.duration("ttl_ms", out.ttl);
  return fields.result(std::move(out));
}

std::optional<Error> decode_error(const Json& in) {
  if (!in.is_object() || !in.contains("error") || !in["error"].is_object()) return std::nullopt;
  Fields fields(in["error"], "error");
  Error out;
  std::string code, outcome;
  fields.text("code", code, true);
  fields.text("outcome", outcome);
  fields.text("message", out.message);
  fields.text("hint", out.hint);
  for (ErrorCode known : all_codes) {
    if (code == to_string(known)) out.code = known;
  }
  out.outcome = outcome == "try_again" ? Outcome::try_again
                : outcome == "unknown" ? Outcome::unknown
                                       : Outcome::failed;
  if (!fields.result(0)) return std::nullopt;
  return out;
}

}  // namespace skep::json
