// What DirectCalls keeps from one call to the next, and the requests that its calls are made of. Not a seam.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scheduler/jenkins/labels.h"
#include "simulation/controller/direct.h"
#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

enum class Asked { read, order };
enum class KickMeans { script, config_xml, other_node };

struct DirectCalls::Memory {
  explicit Memory(ControllerModel& of) : model(of) {}

  ControllerModel& model;
  scheduler::ControllerConfig config{};
  std::string throw_away_prefix{};  // of the farm
  std::string throw_away_salt{};    // ours
  Caller caller{};
  std::string session{};
  scheduler::LabelMemory labels{};
  scheduler::CompanionTalk companion{};
  bool can_script = false;
  KickMeans kick_means = KickMeans::other_node;
  bool config_opens = true;
  std::uint64_t throw_aways = 0;
  std::set<std::string> left_overs{};                       // throw-away nodes whose deletion failed
  std::vector<std::pair<std::string_view, bool>> rights{};  // that were asked for, as of:
  std::uint64_t rights_of = 0;                              // State::permission_changes
  scheduler::NodeNames names{};                             // of the last list
  scheduler::QueueSnapshot old_queue{};                     // taken back
  scheduler::NodesSnapshot old_nodes{};

  State& state() const;

  // --- one request each
  /// What was due happens first. Set: the request was not let in.
  std::optional<Error> arrive(Instant now, Asked asked, std::string_view what);
  /// For an answer with X-Jenkins-Session: pages and JSON, but neither redirects nor plain texts.
  void note_session();
  bool may(std::string_view permission);
  Error denied(std::string_view permission, Asked asked, std::string_view what);
  Computer* find_computer(const std::string& name) const;
  bool run_script(Instant now);
  Result<scheduler::CompanionAnswer> ask_companion_once(Instant now);
  Result<std::string> create(const scheduler::CreateNode& order, Instant now, std::string* missing = nullptr);
  Result<void> toggle(const std::string& node, bool only_closes, const std::string& message, Instant now);
  Node* read_config(const std::string& node, Instant now);
  void post_config(Node& node);

  // --- reads
  void tell_node(const Computer& computer, const Node* node, bool may_connect, bool may_read,
                 scheduler::NodeFact& fact) const;
  scheduler::NodeNames names_of(const scheduler::NodesSnapshot& snapshot);
  void touch_label_cache(const Item& item) const;
  void queue_facts(std::vector<scheduler::QueueItem>& facts);
  scheduler::ScriptLabels labels_by_script(const std::vector<scheduler::QueueItem>& items, Instant now);
  void add_reasons(std::vector<scheduler::QueueItem>& items, const scheduler::ScriptLabels& scripted) const;

  // --- orders
  Result<bool> open_by_config(DirectCalls& calls, const std::string& node, const std::string& closed_as,
                              Instant now);
  bool kick_by_config(const std::string& node, Instant now);
  scheduler::CreateNode next_throw_away();
  void dispose(DirectCalls& calls, const std::string& throw_away, Instant now);
  void dispose_left_overs(DirectCalls& calls, Instant now);

  // --- profile
  void choose_means(scheduler::ControllerProfile& profile, Instant now);
  Result<void> sweep_throw_aways(DirectCalls& calls, scheduler::ControllerProfile& profile, Instant now);
  Result<void> probe_rights(DirectCalls& calls, scheduler::ControllerProfile& profile, Instant now);
  KickMeans probe_node(const std::string& node, scheduler::ControllerProfile& profile, Instant now);
};

inline Error direct_error(ErrorCode code, Outcome outcome, std::string_view what, std::string_view why) {
  return {code, outcome, std::string(what) + ": " + std::string(why), ""};
}

}  // namespace skep::controller_sim
