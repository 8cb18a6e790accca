// What GET .../api/json answers. Order of properties, visibilities and classes as recorded (02, 04, 05, 20,
// 22).
#include <algorithm>
#include <array>

#include "simulation/controller/exported.h"
#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

constexpr const char* placeholder_task =
    "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask";
constexpr const char* placeholder_executable =
    "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask$"
    "PlaceholderExecutable";

const char* job_class(const Job& job) {
  return job.spec.kind == JobKind::freestyle ? "hudson.model.FreeStyleProject"
                                             : "org.jenkinsci.plugins.workflow.job.WorkflowJob";
}

const char* run_class(const Job& job) {
  return job.spec.kind == JobKind::freestyle ? "hudson.model.FreeStyleBuild"
                                             : "org.jenkinsci.plugins.workflow.job.WorkflowRun";
}

/// The class of a parsed label, from its weakest operator outside of parentheses and quotes.
std::string label_class(const LabelExpression& label) {
  if (label.is_atom()) return "hudson.model.labels.LabelAtom";
  const std::string& text = label.expression();
  int depth = 0, weakest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = std::string_view(text).substr(i);
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) in_string = !in_string;
    if (in_string) continue;
    if (text[i] == '(') ++depth;
    if (text[i] == ')') --depth;
    if (depth != 0) continue;
    int rank = 0;
    if (rest.rfind("<->", 0) == 0) {
      rank = 4;
      i += 2;
    } else if (rest.rfind("->", 0) == 0) {
      rank = 3;
      i += 1;
    } else if (rest.rfind("||", 0) == 0) {
      rank = 2;
    } else if (rest.rfind("&&", 0) == 0) {
      rank = 1;
    }
    weakest = std::max(weakest, rank);
  }
  static constexpr std::array<const char*, 5> names{"Not", "And", "Or", "Implies", "Iff"};
  const std::size_t index = weakest == 0 && text.front() == '(' ? 0 : static_cast<std::size_t>(weakest);
  if (weakest == 0 && text.front() == '(') return "hudson.model.labels.LabelExpression$Paren";
  return std::string("hudson.model.labels.LabelExpression$") + names[index];
}

std::string color_of(const Job& job) {
  std::string color = "notbuilt";
  bool building = false;
  for (const Run& run : job.runs) {
    building = building || run.building;
    if (!run.building) color = run.result == "SUCCESS" ? "blue" : run.result == "ABORTED" ? "aborted" : "red";
  }
  return building ? color + "_anime" : color;
}

}  // namespace

std::string State::job_url(const std::string& path) const {
  std::string url;
  for (const std::string& part : split(path, '/')) url += "job/" + percent_encode(part) + "/";
  return url;
}

HttpReply State::read_root(const ParsedRequest& request) {
  return exported(request, "hudson.model.Hudson", [&](JsonObject& out) {
    out.list(
        "assignedLabels", {}, 1, [](std::size_t) { return ""; },
        [](std::size_t, JsonObject& label) { label.text("name", "built-in", 2); });
    out.text("mode", "NORMAL");
    out.text("nodeDescription", "the Jenkins controller's built-in node");
    out.text("nodeName", "");
    out.number("numExecutors", options.built_in_executors);
    out.null("description");
    std::vector<const std::pair<const std::string, Job>*> shown;
    if (has(request.caller, "Job/Read")) {
      for (const auto& entry : jobs) shown.push_back(&entry);
    }
    out.list(
        "jobs", {}, shown.size(), [&](std::size_t i) { return job_class(shown[i]->second); },
        [&](std::size_t i, JsonObject& job) {
          write_job(shown[i]->first, shown[i]->second, job, request.caller);
        });
    out.object("overallLoad", {}, "", [](JsonObject&) {});
    const auto view = [&](JsonObject& all) {
      all.text("name", "all", 999);
      all.text("url", options.root_url, 999);
    };
    out.object("primaryView", {}, "hudson.model.AllView", view);
    out.null("quietDownReason");
    out.boolean("quietingDown", quieting_down);
    out.number("slaveAgentPort", 0);
    out.object("unlabeledLoad", {}, "jenkins.model.UnlabeledLoadStatistics", [](JsonObject&) {});
    out.text("url", options.root_url);
    out.boolean("useCrumbs", true);
    out.boolean("useSecurity", true);
    out.list(
        "views", {}, 1, [](std::size_t) { return "hudson.model.AllView"; },
        [&](std::size_t, JsonObject& all) { view(all); });
  });
}

/// Waiting, blocked, buildables reversed, pendings reversed.
std::vector<std::int64_t> State::visible_items() const {
  std::vector<std::int64_t> ids = waiting;
  ids.insert(ids.end(), blocked.begin(), blocked.end());
  ids.insert(ids.end(), buildable.rbegin(), buildable.rend());
  ids.insert(ids.end(), pending.rbegin(), pending.rend());
  return ids;
}

std::string State::item_class(const Item& item) const {
  switch (item.state) {
    case ItemState::waiting:
      return "hudson.model.Queue$WaitingItem";
    case ItemState::blocked:
      return "hudson.model.Queue$BlockedItem";
    case ItemState::left:
      return "hudson.model.Queue$LeftItem";
    default:
      return "hudson.model.Queue$BuildableItem";
  }
}

HttpReply State::read_queue(const ParsedRequest& request) {
  const std::vector<std::int64_t> ids =
      has(request.caller, "Job/Read") ? visible_items() : std::vector<std::int64_t>();
  return exported(request, "hudson.model.Queue", [&](JsonObject& out) {
    out.empty_list("discoverableItems");
    out.list(
        "items", {1, true}, ids.size(), [&](std::size_t i) { return item_class(items.at(ids[i])); },
        [&](std::size_t i, JsonObject& item) { write_item(items.at(ids[i]), item, request.caller); });
  });
}

HttpReply State::read_item(const ParsedRequest& request, std::int64_t id) {
  expire_left_items();
  const auto found = items.find(id);
  if (found == items.end() || !has(request.caller, "Job/Read")) return not_found();
  return exported(request, item_class(found->second),
                  [&](JsonObject& out) { write_item(found->second, out, request.caller); });
}

void State::write_item(const Item& item, JsonObject& out, const Caller& caller) {
  const auto job = jobs.find(item.job);
  const bool by_user = !item.is_block && !item.user.empty();
  const std::size_t actions = (item.parameters.empty() ? 0U : 1U) + (by_user ? 1U : 0U);
  const auto is_parameters = [&](std::size_t i) { return i == 0 && !item.parameters.empty(); };
  out.list(
      "actions", {}, actions,
      [&](std::size_t i) {
        return is_parameters(i) ? "hudson.model.ParametersAction" : "hudson.model.CauseAction";
      },
      [&](std::size_t i, JsonObject& action) {
        if (is_parameters(i)) {
          action.list(
              "parameters", {2}, item.parameters.size(),
              [](std::size_t) { return "hudson.model.StringParameterValue"; },
              [&](std::size_t k, JsonObject& parameter) {
                parameter.text("name", item.parameters[k].first, 3);
                parameter.text("value", item.parameters[k].second, 3);
              });
          return;
        }
        action.list(
            "causes", {2}, 1, [](std::size_t) { return "hudson.model.Cause$UserIdCause"; },
            [&](std::size_t, JsonObject& cause) {
              cause.text("shortDescription", "Started by user " + item.user, 3);
              cause.text("userId", item.user, 3);
              cause.text("userName", item.user, 3);
            });
      });
  out.boolean("blocked", item.state == ItemState::blocked);
  out.boolean("buildable", item.state == ItemState::buildable || item.state == ItemState::pending);
  out.number("id", item.id);
  out.number("inQueueSince", item.queued_ms);
  out.lazy_text("params", [&] {
    std::string text;
    for (const auto& [name, value] : item.parameters) text += "\n" + name + "=" + value;
    return std::optional<std::string>(text);
  });
  out.boolean("stuck", stuck(item));
  if (item.is_block) {
    out.object("task", {}, placeholder_task, [&](JsonObject& task) {
      const std::string name = task_display_name(item);
      task.text("fullDisplayName", name);
      task.text("name", name);
      task.text("url", job_url(item.job) + std::to_string(item.run) + "/");
    });
  } else if (job != jobs.end()) {
    out.object("task", {}, job_class(job->second),
               [&](JsonObject& task) { write_job(job->first, job->second, task, caller); });
  }
  out.text("url", "queue/item/" + std::to_string(item.id) + "/");
  out.lazy_text("why", [&]() -> std::optional<std::string> {
    if (item.state == ItemState::left) return std::nullopt;
    return why(item);
  });
  if (item.state == ItemState::waiting) {
    out.number("timestamp", item.due_ms);
  } else if (item.state != ItemState::left) {
    out.number("buildableStartMilliseconds", item.buildable_ms);
    if (item.state != ItemState::blocked) out.boolean("pending", item.state == ItemState::pending);
  } else {
    out.boolean("cancelled", item.cancelled);
    if (!item.executable) {
      out.null("executable");
    } else if (item.is_block) {
      out.object("executable", {}, placeholder_executable, [&](JsonObject& run) {
        run.number("number", item.executable->second, 999);
        run.text("url", absolute(job_url(item.job)) + std::to_string(item.executable->second) + "/", 999);
      });
    } else if (const Run* run = find_run(item.executable->first, item.executable->second)) {
      out.object("executable", {}, run_class(job->second),
                 [&](JsonObject& body) { write_run(job->second, *run, body, caller); });
    }
  }
}

void State::write_job(const std::string& path, const Job& job, JsonObject& out, const Caller& caller) {
  Item name_only;
  name_only.job = path;
  const std::string full = task_display_name(name_only);
  const std::size_t count = job.runs.size();
  const auto newest_first = [&](std::size_t i) -> const Run& { return job.runs[count - 1 - i]; };
  const auto runs = [&](std::string_view name) {
    out.list(
        name, {name == "builds" ? 1 : -1}, count, [&](std::size_t) { return run_class(job); },
        [&](std::size_t i, JsonObject& run) { write_run(job, newest_first(i), run, caller); });
  };
  const auto one = [&](std::string_view name, const Run* run) {
    if (run == nullptr) {
      out.null(name);
    } else {
      out.object(name, {}, run_class(job), [&](JsonObject& body) { write_run(job, *run, body, caller); });
    }
  };
  const auto last_with = [&](std::string_view name, auto predicate) {
    if (!out.wants(name)) return;  // a long history is walked only when somebody asks
    for (auto run = job.runs.rbegin(); run != job.runs.rend(); ++run) {
      if (!run->building && predicate(*run)) return one(name, &*run);
    }
    one(name, nullptr);
  };
  out.list(
      "actions", {}, 1, [](std::size_t) { return ""; }, [](std::size_t, JsonObject&) {});
  out.text("description", "");
  out.text("displayName", leaf_name(path));
  out.null("displayNameOrNull");
  out.text("fullDisplayName", full);
  out.text("fullName", path);
  out.text("name", leaf_name(path), 999);
  out.text("url", absolute(job_url(path)), 999);
  runs("allBuilds");
  out.boolean("buildable", true);
  runs("builds");
  if (out.wants("color", 2)) out.text("color", color_of(job), 2);
  one("firstBuild", count == 0 ? nullptr : &job.runs.front());
  out.empty_list("healthReport");
  const Item* queued = nullptr;
  const bool asks_queue = out.wants("inQueue") || out.wants("queueItem");
  for (const auto& [id, item] : items) {
    if (!asks_queue) break;
    if (item.job == path && !item.is_block && item.state != ItemState::left) queued = &item;
  }
  out.boolean("inQueue", queued != nullptr);
  out.boolean("keepDependencies", false);
  one("lastBuild", count == 0 ? nullptr : &job.runs.back());
  last_with("lastCompletedBuild", [](const Run&) { return true; });
  last_with("lastFailedBuild", [](const Run& run) { return run.result == "FAILURE"; });
  last_with("lastStableBuild", [](const Run& run) { return run.result == "SUCCESS"; });
  last_with("lastSuccessfulBuild", [](const Run& run) { return run.result == "SUCCESS"; });
  out.null("lastUnstableBuild");
  last_with("lastUnsuccessfulBuild", [](const Run& run) { return run.result != "SUCCESS"; });
  out.number("nextBuildNumber", job.next_number);
  out.empty_list("property");
  if (queued == nullptr) {
    out.null("queueItem");
  } else {
    out.object("queueItem", {}, item_class(*queued),
               [&](JsonObject& body) { write_item(*queued, body, caller); });
  }
  out.boolean("concurrentBuild", job.spec.concurrent);
  out.boolean("disabled", false);
  if (job.spec.kind != JobKind::freestyle) return;
  out.empty_list("downstreamProjects");
  out.lazy_text("labelExpression", [&] { return label_expression_text(job.spec.label); });
  out.object("scm", {}, "hudson.scm.NullSCM", [](JsonObject&) {});
  out.empty_list("upstreamProjects");
}

void State::write_run(const Job& job, const Run& run, JsonObject& out, const Caller& caller) {
  Item name_only;
  name_only.job = run.job;
  const auto neighbour = [&](std::string_view name, int number) {
    const Run* found = find_run(run.job, number);
    if (found == nullptr) {
      out.null(name);
    } else {
      out.object(name, {}, "", [&](JsonObject& body) { write_run(job, *found, body, caller); });
    }
  };
  static constexpr std::array<const char*, 5> action_classes{
      "hudson.model.CauseAction", "", "org.jenkinsci.plugins.workflow.job.views.FlowGraphAction", "", ""};
  out.list(
      "actions", {}, job.spec.kind == JobKind::freestyle ? 1 : action_classes.size(),
      [](std::size_t i) { return action_classes.at(i); }, [](std::size_t, JsonObject&) {});
  out.empty_list("artifacts");
  out.boolean("building", run.building);
  out.null("description");
  out.text("displayName", "#" + std::to_string(run.number));
  out.number("duration", run.duration_ms);
  out.number("estimatedDuration", job.last_duration_ms);
  out.null("executor");
  out.empty_list("fingerprint");
  out.text("fullDisplayName", task_display_name(name_only) + " #" + std::to_string(run.number));
  out.text("id", std::to_string(run.number));
  out.boolean("keepLog", false);
  out.number("number", run.number, 999);
  out.number("queueId", run.queue_id);
  out.text_or_null("result", run.building ? std::nullopt : std::optional<std::string>(run.result));
  out.number("timestamp", run.started_ms);
  out.text("url", absolute(job_url(run.job)) + std::to_string(run.number) + "/", 999);
  if (job.spec.kind == JobKind::freestyle) {
    out.text("builtOn", run.built_on);
    out.object("changeSet", {}, "hudson.scm.EmptyChangeLogSet", [](JsonObject&) {});
  } else {
    out.empty_list("changeSets");
  }
  out.empty_list("culprits");
  out.boolean("inProgress", run.building);
  neighbour("nextBuild", run.number + 1);
  neighbour("previousBuild", run.number - 1);
}

HttpReply State::read_computers(const ParsedRequest& request) {
  std::vector<Computer*> shown;
  std::int64_t busy = 0, total = 0;
  for (auto& [name, computer] : computers) {
    shown.push_back(&computer);
    const auto slots = static_cast<std::int64_t>(computer.slots.size());
    const auto used = std::count_if(computer.slots.begin(), computer.slots.end(),
                                    [](const auto& slot) { return slot.has_value(); });
    busy += used;
    if (!offline(computer)) total += slots;
  }
  return exported(request, "hudson.model.ComputerSet", [&](JsonObject& out) {
    out.number("busyExecutors", busy);
    out.list(
        "computer", {1, true}, shown.size(),
        [&](std::size_t i) {
          return shown[i]->name.empty() ? "hudson.model.Hudson$MasterComputer"
                                        : "hudson.slaves.SlaveComputer";
        },
        [&](std::size_t i, JsonObject& computer) { write_computer(*shown[i], computer, request.caller); });
    out.text("displayName", "Nodes");
    out.number("totalExecutors", total);
  });
}

HttpReply State::read_computer(const ParsedRequest& request, Computer& computer) {
  const bool built_in = computer.name == built_in_name;
  return exported(request, built_in ? "hudson.model.Hudson$MasterComputer" : "hudson.slaves.SlaveComputer",
                  [&](JsonObject& out) { write_computer(computer, out, request.caller); });
}

HttpReply State::read_label(const ParsedRequest& request, const std::string& text) {
  CachedLabel& cached = label(text);
  const std::vector<std::string> names = label_nodes(cached);
  std::int64_t busy = 0, total = 0;
  for (const std::string& name : names) {
    const auto found = computers.find(name);
    if (found == computers.end() || offline(found->second)) continue;
    for (const auto& slot : found->second.slots) {
      ++total;
      busy += slot ? 1 : 0;
    }
  }
  return exported(request, label_class(cached.expression), [&](JsonObject& out) {
    out.number("busyExecutors", busy);
    out.empty_list("clouds");
    out.null("description");
    out.number("idleExecutors", idle_executors_of(names));
    out.object("loadStatistics", {}, "hudson.model.Label$1", [](JsonObject&) {});
    out.text("name", cached.expression.name(), 2);
    out.list(
        "nodes", {}, names.size(),
        [&](std::size_t i) {
          const auto node = nodes.find(names[i]);
          if (names[i].empty()) return "hudson.model.Hudson";
          return node != nodes.end() && node->second.kind == NodeKind::permanent
                     ? "hudson.slaves.DumbSlave"
                     : "hudson.plugins.swarm.SwarmSlave";
        },
        [&](std::size_t i, JsonObject& node) { node.text("nodeName", names[i], 2); });
    out.boolean("offline", label_offline(cached));
    out.number("totalExecutors", total);
  });
}

HttpReply State::read_load(const ParsedRequest& request) {
  return exported(request, "hudson.model.OverallLoadStatistics", [&](JsonObject& out) {
    std::int64_t busy = 0, online = 0;
    for (const auto& [name, computer] : computers) {
      if (offline(computer)) continue;
      for (const auto& slot : computer.slots) {
        ++online;
        busy += slot ? 1 : 0;
      }
    }
    const auto series = [&](std::string_view name, std::int64_t value) {
      out.object(name, {}, "", [&](JsonObject& body) {
        for (const char* scale : {"hour", "min", "sec10"}) {
          body.object(scale, {}, "",
                      [&](JsonObject& points) { points.real("latest", static_cast<double>(value)); });
        }
      });
    };
    const auto queued = static_cast<std::int64_t>(buildable.size() + pending.size());
    series("availableExecutors", online - busy);
    series("busyExecutors", busy);
    series("connectingExecutors", 0);
    series("definedExecutors", online);
    series("idleExecutors", online - busy);
    series("onlineExecutors", online);
    series("queueLength", queued);
    series("totalExecutors", online);
    series("totalQueueLength", queued);
  });
}

}  // namespace skep::controller_sim
