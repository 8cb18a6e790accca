#include "scheduler/shell/records.h"

#include "common/json/json.h"

namespace skep::scheduler {

using json::Json;

namespace {

Json record_to_json(const ExecutorRecord& record) {
  Json out{{"id", record.id.text},
           {"template", record.template_name.text},
           {"controller", record.controller.text},
           {"host", record.host.text},
           {"epoch", record.epoch},
           {"state", std::string(to_string(record.state))},
           {"node_created", record.node_created},
           {"was_opened", record.was_opened},
           {"was_used", record.was_used},
           {"build", record.build},
           {"builds_seen", record.builds_seen},
           {"hold_reason", record.hold_reason},
           {"planned_at_ms", record.planned_at.ms_since_epoch}};
  if (record.served) {
    out["arrival_ms"] = record.served->arrival.ms_since_epoch;
    out["label"] = record.served->label;
    out["kind"] = record.served->is_pipeline_block ? "pipeline" : "freestyle";
  }
  if (!record.given_up.empty()) out["given_up"] = record.given_up;
  if (record.held_until) out["held_until_ms"] = record.held_until->ms_since_epoch;
  if (record.held_until) out["held_for_ms"] = to_ms(record.held_for);
  return out;
}

}  // namespace

std::string encode_record(const ExecutorRecord& record) {
  return json::dump(record_to_json(record));
}

Result<ExecutorRecord> decode_record(const std::string& text) {
  auto parsed = json::parse_strict(text);
  if (!parsed) return parsed.error();
  const Json& in = *parsed;
  try {
    ExecutorRecord record;
    record.id = ExecutorId(in.at("id").get<std::string>());
    record.template_name = TemplateName(in.at("template").get<std::string>());
    record.controller = ControllerId(in.at("controller").get<std::string>());
    record.host = HostId(in.at("host").get<std::string>());
    record.epoch = in.at("epoch").get<Epoch>();
    const auto state = executor_state_from(in.at("state").get<std::string>());
    if (!state)
      return Error::failed(ErrorCode::malformed_reply,
                           "the record of executor " + record.id.text + " has an unknown state");
    record.state = *state;
    record.node_created = in.value("node_created", false);
    record.was_opened = in.value("was_opened", false);
    record.was_used = in.value("was_used", false);
    record.build = in.value("build", std::string());
    record.builds_seen = in.value("builds_seen", std::vector<std::string>());
    record.hold_reason = in.value("hold_reason", std::string());
    record.given_up = in.value("given_up", std::string());
    record.planned_at.ms_since_epoch = in.value("planned_at_ms", std::int64_t{0});
    if (in.contains("arrival_ms"))
      record.served =
          ServedItem{WallTime{in.at("arrival_ms").get<std::int64_t>()}, in.value("label", std::string()),
                     in.value("kind", std::string()) == "pipeline"};
    if (in.contains("held_until_ms"))
      record.held_until = WallTime{in.at("held_until_ms").get<std::int64_t>()};
    record.held_for = milliseconds(in.value("held_for_ms", std::int64_t{0}));
    return record;
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::malformed_reply,
                         std::string("a stored executor record cannot be read: ") + e.what());
  }
}

std::string encode_audit(const Audit& audit) {
  Json out = record_to_json(audit.record);
  out["gate_open_ms"] = audit.gate_open_ms;
  out["gate_longest_blind_ms"] = audit.gate_longest_blind_ms;
  out["coming_ms"] = audit.coming_ms;
  out["busy_ms"] = audit.busy_ms;
  out["end"] = audit.end;
  out["is_violation"] = audit.is_violation;
  out["gate_unwatched_ms"] = audit.gate_unwatched_ms;
  out["may_hide_build"] = audit.may_hide_build;
  return json::dump(out);
}

}  // namespace skep::scheduler
