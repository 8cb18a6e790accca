#include "scheduler/shell/api_codec.h"

namespace skep::scheduler {

using json::Json;

namespace {

Json resources_to_json(const Resources& resources) {
  return {{"cpu_millis", resources.cpu_millis},
          {"memory_bytes", resources.memory_bytes},
          {"disk_bytes", resources.disk_bytes},
          {"countable", resources.countable}};
}

}  // namespace

Json to_json(const Explanation& explanation) {
  Json out{{"controller", explanation.controller.text},
           {"item", explanation.item},
           {"name", explanation.name},
           {"label", explanation.label},
           {"reason", std::string(to_string(explanation.reason))},
           {"text", explanation.text},
           {"unblock", explanation.unblock},
           {"refusals", explanation.refusals},
           {"nearest_miss", explanation.nearest_miss},
           {"matching_templates", explanation.matching_templates},
           {"waiting_ms", explanation.waiting_ms},
           {"image", explanation.image}};
  out["starts_in_ms"] = explanation.starts_in ? Json(to_ms(*explanation.starts_in)) : Json(nullptr);
  out["executor"] = explanation.executor ? Json(explanation.executor->text) : Json(nullptr);
  return out;
}

Json to_json(const ExecutorStatus& executor) {
  const ExecutorRecord& record = executor.record;
  Json out{{"id", record.id.text},
           {"template", record.template_name.text},
           {"controller", record.controller.text},
           {"host", record.host.text},
           {"state", std::string(to_string(executor.state))},
           {"in_state_ms", executor.in_state_ms},
           {"image", record.image},
           {"gate", executor.gate},
           {"detail", executor.detail},
           {"build", record.build},
           {"builds_seen", record.builds_seen},
           {"was_used", record.was_used},
           {"epoch", record.epoch},
           {"planned_at_ms", record.planned_at.ms_since_epoch},
           {"hold_reason", record.hold_reason}};
  out["held_until_ms"] = record.held_until ? Json(record.held_until->ms_since_epoch) : Json(nullptr);
  return out;
}

Json to_json(const HostStatus& host) {
  return {{"host", host.report.host.text},
          {"is_known", host.is_known},
          {"unseen_reason", host.unseen_reason},
          {"seen_ms_ago", host.seen_ms_ago},
          {"os", host.report.os},
          {"arch", host.report.arch},
          {"version", host.report.version},
          {"drivers", host.report.drivers},
          {"images", host.report.images},
          {"attributes", host.report.attributes},
          {"capacity", resources_to_json(host.report.capacity)},
          {"free", resources_to_json(host.free)},
          {"max_executors", host.report.max_executors},
          {"executors", host.report.executors.size()},
          {"is_draining", host.is_draining},
          {"drain_reason", host.drain_reason},
          {"epoch_seen", host.report.epoch_seen},
          {"open_breakers", host.open_breakers}};
}

Json to_json(const ControllerStatus& controller) {
  Json out{{"controller", controller.config.name.text},
           {"url", controller.config.url},
           {"is_known", controller.is_known},
           {"problem", controller.problem},
           {"queue_age_ms", controller.queue_age_ms},
           {"nodes_age_ms", controller.nodes_age_ms},
           {"items", controller.items},
           {"has_companion", controller.config.companion},
           {"is_told", controller.is_told},
           {"companion_problem", controller.companion_problem},
           {"foreign_offline", controller.foreign_offline}};
  if (controller.profile) {
    out["version"] = controller.profile->version;
    out["one_build"] = std::string(to_string(controller.profile->one_build));
    out["kick"] = controller.profile->kick;
    out["can_script"] = controller.profile->can_script;
    out["missing_permissions"] = controller.profile->missing_permissions;
    out["extra_permissions"] = controller.profile->extra_permissions;
    out["warnings"] = controller.profile->warnings;
  }
  return out;
}

Json to_json(const Template& made) {
  return {{"name", made.name.text},
          {"labels", made.labels_text},
          {"takes_unlabelled", made.takes_unlabelled},
          {"driver", made.driver},
          {"image", made.image},
          {"resources", resources_to_json(made.resources)},
          {"minimum_idle", made.minimum_idle},
          {"maximum", made.maximum}};
}

Json to_json(const Counters& counters) {
  return {{"launches", counters.launches},
          {"launch_failures", counters.launch_failures},
          {"builds_seen", counters.builds_seen},
          {"executors_used", counters.executors_used},
          {"executors_unused", counters.executors_unused},
          {"violations", counters.violations},
          {"unproven", counters.unproven},
          {"gates_opened", counters.gates_opened},
          {"gate_bounces", counters.gate_bounces},
          {"orphans_swept", counters.orphans_swept},
          {"resumes", counters.resumes},
          {"frozen_decisions", counters.frozen_decisions},
          {"queue_reads", counters.queue_reads},
          {"queue_read_failures", counters.queue_read_failures},
          {"companion_answers", counters.companion_answers},
          {"companion_events", counters.companion_events},
          {"companion_news", counters.companion_news},
          {"companion_differences", counters.companion_differences},
          {"rollout_starts", counters.rollout_starts},
          {"rollout_stops", counters.rollout_stops},
          {"rollout_retired", counters.rollout_retired}};
}

Json to_json(const ImageStatus& status) {
  const auto version = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  const auto figures = [](const VersionFigures& seen) {
    return Json{{"joined", seen.joined},
                {"failed", seen.failed},
                {"boot_ms", seen.boot_ms.empty() ? Json(nullptr) : Json(median_boot_ms(seen))},
                {"builds", seen.builds},
                {"lost_builds", seen.lost_builds}};
  };
  Json templates = Json::array(), hosts = Json::array();
  for (const TemplateName& name : status.templates) templates.push_back(name.text);
  for (const ImageAtHost& host : status.hosts)
    hosts.push_back({{"host", host.host.text}, {"is_ready", host.is_ready}, {"problem", host.problem}});
  Json out{{"image", status.image.name},
           {"current", version(status.image.current)},
           {"previous", status.image.previous ? version(*status.image.previous) : Json(nullptr)},
           {"has_previous", status.image.previous.has_value()},
           {"text", status.text},
           {"templates", std::move(templates)},
           {"reference", status.reference},
           {"hosts", std::move(hosts)},
           {"executors", status.living},
           {"rollout", nullptr}};
  if (!status.image.rollout) return out;
  const Rollout& rollout = *status.image.rollout;
  out["rollout"] = {{"to", rollout.to},
                    {"state", std::string(to_string(rollout.state))},
                    {"share", rollout.share},
                    {"is_held", rollout.is_held},
                    {"is_good", rollout.is_good},
                    {"reason", rollout.reason},
                    {"started_at_ms", rollout.started_at.ms_since_epoch},
                    {"changed_at_ms", rollout.changed_at.ms_since_epoch},
                    {"old", figures(rollout.old_figures)},
                    {"new", figures(rollout.new_figures)}};
  return out;
}

Json to_json(const StatusSnapshot& snapshot) {
  return {{"api", 1},
          {"farm", snapshot.farm},
          {"epoch", snapshot.epoch},
          {"fenced_by", snapshot.fenced_by},
          {"is_paused", snapshot.is_paused},
          {"pause_reason", snapshot.pause_reason},
          {"controllers", list_to_json(snapshot.controllers)},
          {"hosts", list_to_json(snapshot.hosts)},
          {"executors", list_to_json(snapshot.executors)},
          {"queue", list_to_json(snapshot.queue)},
          {"templates", list_to_json(snapshot.templates)},
          {"images", list_to_json(snapshot.images)},
          {"counters", to_json(snapshot.counters)}};
}

}  // namespace skep::scheduler
