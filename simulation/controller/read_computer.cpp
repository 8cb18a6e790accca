// One computer as JSON (recordings 02, 04, 08, 09, 14).
#include <algorithm>

#include "simulation/controller/exported.h"
#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

void State::write_slot(const Computer& computer, std::size_t slot, JsonObject& out, const Caller& caller) {
  const std::optional<std::uint64_t>& id = computer.slots[slot];
  const Occupation* occupation = id ? &occupations.at(*id) : nullptr;
  const Run* run = occupation != nullptr && occupation->running && has(caller, "Job/Read")
                       ? find_run(occupation->job, occupation->run)
                       : nullptr;
  if (run == nullptr) {
    out.null("currentExecutable");
  } else if (occupation->pipeline) {
    out.object("currentExecutable", {},
               "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask$"
               "PlaceholderExecutable",
               [&](JsonObject& body) {
                 Item shown;
                 shown.job = occupation->job;
                 shown.is_block = true;
                 shown.run = occupation->run;
                 shown.block = occupation->block;
                 const std::string name = task_display_name(shown);
                 body.text("displayName", name);
                 body.number("estimatedDuration", jobs.at(occupation->job).last_duration_ms);
                 body.text("fullDisplayName", name);
                 body.number("number", run->number, 999);
                 body.number("timestamp", run->started_ms);
                 body.text("url", absolute(job_url(occupation->job)) + std::to_string(run->number) + "/",
                           999);
               });
  } else {
    out.object("currentExecutable", {}, "hudson.model.FreeStyleBuild",
               [&](JsonObject& body) { write_run(jobs.at(occupation->job), *run, body, caller); });
  }
  out.boolean("idle", occupation == nullptr);
  out.boolean("likelyStuck", false);
  out.number("number", static_cast<std::int64_t>(slot));
  out.number("progress", -1);
}

/// Values of a machine at rest; a test must not depend on them. Null while there is no channel.
void State::write_monitors(const Computer& computer, JsonObject& out) {
  const bool known = computer.name == built_in_name || computer.channel == Channel::online;
  const std::string root = computer.name == built_in_name || nodes.count(computer.name) == 0
                               ? "/var/jenkins_home"
                               : nodes.at(computer.name).remote_fs;
  const std::int64_t now_ms = wall_ms(clock);
  out.map("monitorData", {}, [&](JsonMap& monitors) {
    const auto disk = [&](const char* monitor, const std::string& path) {
      const std::string key = std::string("hudson.node_monitors.") + monitor;
      if (!known) return monitors.null(key);
      monitors.object(key, "hudson.node_monitors.DiskSpaceMonitorDescriptor$DiskSpace",
                      [&](JsonObject& space) {
                        space.number("timestamp", now_ms, 999);
                        space.text("path", path, 999);
                        space.number("size", 82805514240, 999);
                        space.number("threshold", 1073741824, 999);
                        space.number("totalSize", 270553174016, 999);
                        space.number("warningThreshold", 2147483648, 999);
                      });
    };
    if (!known) {
      monitors.null("hudson.node_monitors.SwapSpaceMonitor");
    } else {
      monitors.object("hudson.node_monitors.SwapSpaceMonitor",
                      "hudson.node_monitors.SwapSpaceMonitor$MemoryUsage2", [](JsonObject& memory) {
                        memory.number("availablePhysicalMemory", 21384916992, 999);
                        memory.number("availableSwapSpace", 0, 999);
                        memory.number("totalPhysicalMemory", 25276063744, 999);
                        memory.number("totalSwapSpace", 0, 999);
                      });
    }
    disk("TemporarySpaceMonitor", "/tmp");
    disk("DiskSpaceMonitor", root);
    if (!known) {
      for (const char* monitor : {"ArchitectureMonitor", "ResponseTimeMonitor", "ClockMonitor"}) {
        monitors.null(std::string("hudson.node_monitors.") + monitor);
      }
      return;
    }
    monitors.text("hudson.node_monitors.ArchitectureMonitor", "Linux (amd64)");
    monitors.object("hudson.node_monitors.ResponseTimeMonitor",
                    "hudson.node_monitors.ResponseTimeMonitor$Data", [&](JsonObject& data) {
                      data.number("timestamp", now_ms, 999);
                      data.number("average", 0, 999);
                    });
    monitors.object("hudson.node_monitors.ClockMonitor", "hudson.util.ClockDifference",
                    [](JsonObject& difference) { difference.number("diff", 0, 999); });
  });
}

void State::write_computer(const Computer& computer, JsonObject& out, const Caller& caller) {
  const bool built_in = computer.name == built_in_name;
  const auto found = nodes.find(computer.name);
  const Node* node = found == nodes.end() ? nullptr : &found->second;
  const OfflineFlag* flag = flag_of(computer);
  const bool may_connect = has(caller, "Agent/Connect");
  const bool is_offline = offline(computer);
  out.empty_list("actions");
  const std::vector<std::string> labels_shown =
      node == nullptr ? std::vector<std::string>() : node->shown_labels;
  out.list(
      "assignedLabels", {}, labels_shown.size(), [](std::size_t) { return ""; },
      [&](std::size_t i, JsonObject& label) { label.text("name", labels_shown[i], 2); });
  out.text("description", built_in          ? "the Jenkins controller's built-in node"
                          : node == nullptr ? ""
                                            : node->description);
  out.text("displayName", display_name(computer.name));
  out.list(
      "executors", {}, computer.slots.size(), [](std::size_t) { return ""; },
      [&](std::size_t i, JsonObject& slot) { write_slot(computer, i, slot, caller); });
  const std::string icon = is_offline ? "symbol-computer-disconnected" : "symbol-computer";
  out.text("icon", icon);
  out.text("iconClassName", icon);
  out.boolean("idle", idle(computer));
  out.boolean("jnlpAgent", !built_in);
  out.boolean("launchSupported", built_in);
  out.object("loadStatistics", {}, "hudson.model.Label$1", [](JsonObject&) {});
  out.boolean("manualLaunchAllowed", true);
  if (may_connect) {
    write_monitors(computer, out);
  } else {
    out.map("monitorData", {}, [](JsonMap&) {});
  }
  out.number("numExecutors", computer.doomed ? 0 : static_cast<std::int64_t>(computer.slots.size()));
  out.boolean("offline", is_offline);
  if (flag != nullptr) {
    out.object("offlineCause", {}, "hudson.slaves.OfflineCause$UserCause", [&](JsonObject& cause) {
      cause.number("timestamp", flag->timestamp_ms);
      cause.text("description",
                 "Disconnected by " + flag->user + (flag->message.empty() ? "" : " : " + flag->message));
    });
    out.text("offlineCauseReason", flag->message);
  } else if (!computer.offline_class.empty()) {
    out.object("offlineCause", {}, computer.offline_class,
               [&](JsonObject& cause) { cause.text("description", computer.offline_reason); });
    out.text("offlineCauseReason", computer.offline_reason);
  } else {
    out.null("offlineCause");
    out.text("offlineCauseReason", "");
  }
  out.list(
      "oneOffExecutors", {}, computer.one_off.size(), [](std::size_t) { return ""; },
      [&](std::size_t i, JsonObject& one_off) {
        const auto& [job_path, number] = computer.one_off[i];
        const Run* run = has(caller, "Job/Read") ? find_run(job_path, number) : nullptr;
        if (run == nullptr) {
          one_off.null("currentExecutable");
        } else {
          one_off.object(
              "currentExecutable", {}, "org.jenkinsci.plugins.workflow.job.WorkflowRun",
              [&, path = job_path](JsonObject& body) { write_run(jobs.at(path), *run, body, caller); });
        }
        one_off.boolean("idle", false);
        one_off.boolean("likelyStuck", false);
        one_off.number("number", -1);
        one_off.number("progress", -1);
      });
  out.boolean("temporarilyOffline", flag != nullptr);
  if (built_in) return;
  const bool root_known = computer.channel == Channel::online && may_connect && node != nullptr;
  out.text_or_null("absoluteRemotePath",
                   root_known ? std::optional<std::string>(node->remote_fs) : std::nullopt);
}

}  // namespace skep::controller_sim
