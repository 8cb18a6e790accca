// DirectCalls::profile(): the requests of scheduler/jenkins/profile.cpp, one after the other.
#include <algorithm>

#include "scheduler/jenkins/requests.h"
#include "scheduler/jenkins/scripts.h"
#include "simulation/controller/direct_memory.h"

namespace skep::controller_sim {

using namespace scheduler;

namespace {

void note_missing(ControllerProfile& profile, const std::string& permission) {
  auto& missing = profile.missing_permissions;
  if (std::find(missing.begin(), missing.end(), permission) == missing.end()) missing.push_back(permission);
}

/// A right is there, or it is missing by name; anything else is an error.
Result<bool> judge_right(const Result<void>& ended, const std::string& permission,
                         ControllerProfile& profile) {
  if (ended) return true;
  if (ended.error().code == ErrorCode::permission_denied) {
    note_missing(profile, permission);
    return false;
  }
  return Error::unknown(ended.error().code, ended.error().message);
}

}  // namespace

Result<ControllerProfile> DirectCalls::profile(Instant now) {
  State& state = memory_->state();
  state.advance(now);
  if (state.phase != Phase::up)
    return direct_error(ErrorCode::unavailable, Outcome::unknown, "logging in",
                        "the controller is starting or away");
  memory_->note_session();  // whoAmI answers everybody
  ControllerProfile profile;
  profile.version = state.options.core_version;
  profile.session = memory_->session;
  memory_->choose_means(profile, now);
  if (auto swept = memory_->sweep_throw_aways(*this, profile, now); !swept) return swept.error();
  if (auto probed = memory_->probe_rights(*this, profile, now); !probed) return probed.error();
  if (memory_->may("Overall/Read") && (state.jobs.empty() || !memory_->may("Job/Read")))
    profile.warnings.emplace_back("no job is visible to the account");
  return profile;
}

void DirectCalls::Memory::choose_means(ControllerProfile& profile, Instant now) {
  using OneBuild = ControllerConfig::OneBuild;
  can_script = profile.can_script = run_script(now);
  if (!profile.can_script) {
    if (config.one_build == OneBuild::hook) note_missing(profile, "Overall/Administer");
    return;
  }
  if (config.one_build == OneBuild::gate) {
    profile.extra_permissions.emplace_back("Overall/Administer");
    return;
  }
  state().install_hook(one_build_hook_script);
  profile.one_build = OneBuildMeans::hook;
}

Result<void> DirectCalls::Memory::sweep_throw_aways(DirectCalls& calls, ControllerProfile& profile,
                                                    Instant now) {
  if (!may("Overall/Read")) {
    note_missing(profile, "Overall/Read");
    return {};
  }
  const auto nodes = calls.read_nodes(now);
  if (!nodes) return nodes.error();
  for (const NodeFact& node : nodes->nodes) {
    const bool is_ours =
        node.name.starts_with(throw_away_prefix) &&
        std::find(node.labels.begin(), node.labels.end(), throw_away_label) != node.labels.end();
    if (is_ours && node.is_idle && !node.is_connected) left_overs.insert(node.name);
  }
  dispose_left_overs(calls, now);
  return {};
}

Result<void> DirectCalls::Memory::probe_rights(DirectCalls& calls, ControllerProfile& profile, Instant now) {
  const CreateNode order = next_throw_away();
  const std::string& node = order.node.text;
  std::string missing;
  const auto created = create(order, now, &missing);
  if (!missing.empty()) {
    note_missing(profile, missing);
    return {};
  }
  if (!created) return created.error();
  KickMeans means = probe_node(node, profile, now);
  if (profile.can_script) means = KickMeans::script;
  const auto deleted = judge_right(calls.delete_node(node, now), "Agent/Delete", profile);
  if (!deleted || !*deleted) dispose(calls, node, now);
  if (!deleted) return deleted.error();
  profile.kick = means == KickMeans::script       ? "script"
                 : means == KickMeans::config_xml ? "config.xml"
                                                  : "createSlave";
  kick_means = means;
  config_opens = true;
  return {};
}

/// Closes, opens and configures the throw-away node. Its rights are all there can be wrong with it.
KickMeans DirectCalls::Memory::probe_node(const std::string& node, ControllerProfile& profile, Instant now) {
  const auto closed =
      judge_right(toggle(node, true, offline_message("finding out the account's rights"), now),
                  "Agent/Disconnect", profile);
  if (closed && *closed)
    static_cast<void>(judge_right(toggle(node, false, "", now), "Agent/Connect", profile));
  if (profile.can_script) return KickMeans::script;
  return kick_by_config(node, now) ? KickMeans::config_xml : KickMeans::other_node;
}

}  // namespace skep::controller_sim
