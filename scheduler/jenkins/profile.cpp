// JenkinsController::profile(): what the controller is and what our account may do there.
#include <algorithm>

#include "scheduler/jenkins/answers.h"
#include "scheduler/jenkins/jenkins_controller.h"
#include "scheduler/jenkins/requests.h"
#include "scheduler/jenkins/scripts.h"

namespace skep::scheduler {
namespace {

void note_missing(ControllerProfile& profile, const std::string& permission) {
  auto& missing = profile.missing_permissions;
  if (std::find(missing.begin(), missing.end(), permission) == missing.end()) missing.push_back(permission);
}

/// A right is there, or it is missing by name; anything else is an error.
Result<bool> judge_right(const Result<http::Reply>& reply, const std::string& what, int wanted_status,
                         ControllerProfile& profile) {
  if (!reply)
    return Error::unknown(reply.error().code, what + ": " + reply.error().message, reply.error().hint);
  if (const std::string permission = missing_permission(*reply); !permission.empty()) {
    note_missing(profile, permission);
    return false;
  }
  const auto checked = wanted_status == 302 ? check_node_order(*reply, what) : Result<void>();
  if (!checked) return Error::unknown(checked.error().code, checked.error().message, checked.error().hint);
  if (reply->status == wanted_status) return true;
  const Error error = error_of(*reply, what, Asked::order);
  return Error::unknown(error.code, error.message, error.hint);
}

}  // namespace

Result<ControllerProfile> JenkinsController::profile() {
  const auto who = read_json("whoAmI/api/json", "logging in");
  if (!who) return who.error();
  const auto is_anonymous = parse_is_anonymous(who->body);
  if (!is_anonymous) return is_anonymous.error();
  ControllerProfile profile;
  profile.version = http::header_value(who->headers, "X-Jenkins");
  profile.session = http::header_value(who->headers, "X-Jenkins-Session");
  if (*is_anonymous)
    profile.warnings.emplace_back("the controller sees no account (anonymous): give user and token_file");
  if (auto chosen = choose_means(profile); !chosen) return chosen.error();
  if (auto swept = sweep_throw_aways(profile); !swept) return swept.error();
  if (auto probed = probe_rights(profile); !probed) return probed.error();
  const auto jobs = read_json("api/json?tree=jobs%5Bname%5D%7B0,1%7D", "looking for a job");
  if (jobs && jobs->body.find("\"name\"") == std::string::npos) {
    profile.warnings.emplace_back("no job is visible to the account: without Job/Read the queue looks empty");
  }
  return profile;
}

/// Hook or gate; the hook is installed here.
Result<void> JenkinsController::choose_means(ControllerProfile& profile) {
  using OneBuild = ControllerConfig::OneBuild;
  const auto script = run_script(probe_script, script_marker, "trying the script console");
  if (!script && script.error().code != ErrorCode::permission_denied) {
    if (script.error().outcome != Outcome::failed)
      return Error::unknown(script.error().code, script.error().message, script.error().hint);
    profile.warnings.push_back(script.error().message);
  }
  profile.can_script = script.has_value();
  if (profile.can_script && config_.one_build == OneBuild::gate)
    profile.extra_permissions.emplace_back("Overall/Administer");
  if (profile.can_script && config_.one_build != OneBuild::gate) {
    const auto installed = run_script(one_build_hook_script, hook_marker, "installing the one-build hook");
    if (installed) {
      profile.one_build = OneBuildMeans::hook;
    } else if (config_.one_build == OneBuild::hook || installed.error().outcome != Outcome::failed) {
      return Error::unknown(installed.error().code, installed.error().message, installed.error().hint);
    } else {
      profile.warnings.push_back(installed.error().message + "; the gate is used instead");
    }
  } else if (config_.one_build == OneBuild::hook) {
    note_missing(profile, "Overall/Administer");
  }
  const std::lock_guard<std::mutex> guard(lock_);
  can_script_ = profile.can_script;
  return {};
}

/// Throw-away nodes of an earlier life. Name and label are ours; one with an agent is none.
Result<void> JenkinsController::sweep_throw_aways(ControllerProfile& profile) {
  const auto allowed =
      judge_right(get("computer/api/json?tree=computer%5BdisplayName%5D"), "reading the nodes", 200, profile);
  if (!allowed) return allowed.error();
  if (!*allowed) return {};
  const auto nodes = read_nodes();
  if (!nodes) return nodes.error();
  for (const NodeFact& node : nodes->nodes) {
    const bool is_ours =
        node.name.starts_with(throw_away_prefix_) &&
        std::find(node.labels.begin(), node.labels.end(), throw_away_label) != node.labels.end();
    if (!is_ours || !node.is_idle || node.is_connected) continue;
    const std::lock_guard<std::mutex> guard(lock_);
    left_overs_.insert(node.name);
  }
  dispose_left_overs();
  return {};
}

Result<void> JenkinsController::probe_rights(ControllerProfile& profile) {
  KickMeans means = profile.can_script ? KickMeans::script : KickMeans::other_node;
  const CreateNode order = next_throw_away();
  const std::string& node = order.node.text;
  const auto reply = post(create_target, create_form(order), form_type);
  if (!reply) {
    dispose(node);
    return Error::unknown(reply.error().code, "creating node " + node + ": " + reply.error().message,
                          reply.error().hint);
  }
  if (const std::string permission = missing_permission(*reply); !permission.empty()) {
    note_missing(profile, permission);
    return {};
  }
  const auto created = read_created(*reply, node);
  auto probed = created ? probe_node(node, profile, means) : Result<void>(created.error());
  const auto deleted =
      judge_right(post(node_target(node, "doDelete"), "", form_type), "deleting node " + node, 302, profile);
  if (!deleted || !*deleted) dispose(node);
  if (!probed) return probed;
  if (!deleted) return deleted.error();
  profile.kick = means == KickMeans::script       ? "script"
                 : means == KickMeans::config_xml ? "config.xml"
                                                  : "createSlave";
  const std::lock_guard<std::mutex> guard(lock_);
  kick_ = means;
  config_opens_ = true;
  return {};
}

/// Closes, opens and configures the throw-away node.
Result<void> JenkinsController::probe_node(const std::string& node, ControllerProfile& profile,
                                           KickMeans& means) {
  const std::string closing = close_form("finding out the account's rights");
  const auto closed = judge_right(post(node_target(node, "changeOfflineCause"), closing, form_type),
                                  "closing node " + node, 302, profile);
  if (!closed) return closed.error();
  // Without the right to close, it would flip to closed and tell nothing about opening.
  if (*closed) {
    const auto opened = judge_right(post(node_target(node, "toggleOffline"), "offlineMessage=", form_type),
                                    "opening node " + node, 302, profile);
    if (!opened) return opened.error();
  }
  if (profile.can_script) return {};
  // Reading may be allowed where writing is not: only writing tells. It is not needed, so it never is
  // missing.
  const auto config = get(node_target(node, "config.xml"));
  if (!config || config->status != 200 || without_offline_cause(config->body)) return {};
  const auto written = post(node_target(node, "config.xml"), config->body, xml_type);
  if (written && written->status == 200) means = KickMeans::config_xml;
  return {};
}

}  // namespace skep::scheduler
