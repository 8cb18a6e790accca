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
  if (!record.image.empty()) out["image"] = record.image;
  if (record.was_counted) out["was_counted"] = true;
  if (!record.given_up.empty()) out["given_up"] = record.given_up;
  if (record.held_until) out["held_until_ms"] = record.held_until->ms_since_epoch;
  if (record.held_until) out["held_for_ms"] = to_ms(record.held_for);
  return out;
}

Json figures_to_json(const VersionFigures& figures) {
  return {{"joined", figures.joined},
          {"failed", figures.failed},
          {"builds", figures.builds},
          {"lost_builds", figures.lost_builds},
          {"boot_ms", figures.boot_ms}};
}

VersionFigures figures_from(const Json& in) {
  VersionFigures figures;
  figures.joined = in.value("joined", 0);
  figures.failed = in.value("failed", 0);
  figures.builds = in.value("builds", 0);
  figures.lost_builds = in.value("lost_builds", 0);
  figures.boot_ms = in.value("boot_ms", std::vector<std::int64_t>{});
  return figures;
}

}  // namespace

std::string encode_image(const ImageVersions& image) {
  Json out{{"name", image.name}, {"current", image.current}};
  if (image.previous) out["previous"] = *image.previous;
  if (image.rollout) {
    const Rollout& rollout = *image.rollout;
    out["rollout"] = {{"to", rollout.to},
                      {"share", rollout.share},
                      {"is_held", rollout.is_held},
                      {"is_good", rollout.is_good},
                      {"state", std::string(to_string(rollout.state))},
                      {"reason", rollout.reason},
                      {"credit", rollout.credit},
                      {"started_at_ms", rollout.started_at.ms_since_epoch},
                      {"changed_at_ms", rollout.changed_at.ms_since_epoch},
                      {"old", figures_to_json(rollout.old_figures)},
                      {"new", figures_to_json(rollout.new_figures)}};
  }
  return json::dump(out);
}

Result<ImageVersions> decode_image(const std::string& text) {
  auto parsed = json::parse_strict(text);
  if (!parsed) return parsed.error();
  const Json& in = *parsed;
  try {
    ImageVersions image;
    image.name = in.at("name").get<std::string>();
    image.current = in.value("current", std::string());
    if (in.contains("previous")) image.previous = in.at("previous").get<std::string>();
    if (!in.contains("rollout")) return image;
    const Json& from = in.at("rollout");
    Rollout rollout;
    rollout.to = from.at("to").get<std::string>();
    rollout.share = from.value("share", rollout.share);
    rollout.is_held = from.value("is_held", false);
    rollout.is_good = from.value("is_good", false);
    const auto state = rollout_state_from(from.at("state").get<std::string>());
    if (!state)
      return Error::failed(ErrorCode::malformed_reply,
                           "the record of image " + image.name + " has an unknown state of its rollout");
    rollout.state = *state;
    rollout.reason = from.value("reason", std::string());
    rollout.credit = from.value("credit", 0);
    rollout.started_at.ms_since_epoch = from.value("started_at_ms", std::int64_t{0});
    rollout.changed_at.ms_since_epoch = from.value("changed_at_ms", std::int64_t{0});
    rollout.old_figures = figures_from(from.value("old", Json::object()));
    rollout.new_figures = figures_from(from.value("new", Json::object()));
    image.rollout = std::move(rollout);
    return image;
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::malformed_reply,
                         std::string("a stored record of an image cannot be read: ") + e.what());
  }
}

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
    record.image = in.value("image", std::string());
    record.was_counted = in.value("was_counted", false);
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
