// One Jenkins controller as the scheduler's shell calls it. Blocking; every method may be called from several
// threads.
//
// Reads answer with Outcome::unknown whenever the reply is not wholly understood; orders tell refused
// (failed) from "may have happened" (unknown). Errors name what failed and, for a 403, the permission that is
// missing. Redirects are never followed and cookies never sent: both are the client's part. A POST is
// authorised by the API token alone. Addresses in replies are never called: they come from Jenkins' own
// configuration, not from our base address. Protocol: Jenkins core and the swarm plugin as seen in
// tests/recordings (both generations of the offline flag).
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/http/http_client.h"
#include "scheduler/core/actions.h"
#include "scheduler/core/config.h"
#include "scheduler/core/facts.h"
#include "scheduler/jenkins/companion.h"
#include "scheduler/jenkins/labels.h"
#include "scheduler/jenkins/replies.h"

namespace skep::scheduler {

class JenkinsController {
 public:
  JenkinsController(ControllerConfig config, std::string farm, std::unique_ptr<http::Client> client);

  /// Who we are, what the account may do and how one build per executor is kept; installs the hook where that
  /// is the means. To be called again after every restart of the controller (the hook is lost then). Jenkins
  /// tells an agent right only by refusing it on a node, so one throw-away node (`<farm>-kick-...`, never
  /// connected, matched by no job) is led through its life: created, closed, opened, configured, deleted.
  /// A missing right is a value of the profile; an answer that says nothing is an error.
  Result<ControllerProfile> profile();

  Result<QueueSnapshot> read_queue();
  Result<NodesSnapshot> read_nodes();
  /// nullopt: Jenkins itself says that there is no such node.
  Result<std::optional<NodeFact>> poll_node(const std::string& node);

  /// The secret that lets the agent join. conflict: the name exists. No secret in the answer: unknown.
  Result<std::string> create_node(const CreateNode& order);
  /// Idempotent. Success also for a node that is gone and only lingers: it takes no work any more.
  Result<void> close_gate(const std::string& node, const std::string& reason);
  /// Reads the node first and never flips what is open already. Refuses (conflict) a node that somebody else
  /// set offline. Without a kick the queue looks within 5 s.
  Result<Opening> open_gate(const std::string& node);
  /// Makes the queue look at once; never by ending a quiet-down.
  Result<void> kick();
  /// Success when Jenkins says that it is not there.
  Result<void> delete_node(const std::string& node);

  /// What the companion tells (docs/design/companion.md): the queue as it is, and what happened to nodes
  /// since it was asked last. Answers when there is something new, at the latest after `wait`, which is at
  /// most a minute. Without a base it is installed and tells one at once; so it does when it was restarted or
  /// tells what does not fit, and whenever rebase_companion() was called since. One caller at a time. It
  /// answers as a read does: whatever the error, nothing is known and the next call may go on.
  /// permission_denied: the account may run no scripts (any more); malformed_reply: no base could be had from
  /// what the script console answers.
  Result<CompanionAnswer> ask_companion(Duration wait);
  /// The next call of ask_companion() takes a new base. One that waits is not woken.
  void rebase_companion();
  /// Takes it out of the controller. The one-build hook is put in first, so that agents go on taking one
  /// build each. Idempotent. Whoever waits then is told of nothing until its wait is over.
  Result<void> remove_companion();

  std::string session() const;  // X-Jenkins-Session of the newest reply; changes when the controller restarts
  void cancel() { client_->cancel(); }

 private:
  enum class KickMeans { script, config_xml, other_node };

  Result<http::Reply> get(const std::string& target);
  Result<http::Reply> post(const std::string& target, const std::string& body,
                           const std::string& content_type, bool is_repeatable = false);
  /// For what does no harm when it arrives twice: on a kept connection, without the handshakes of a new one.
  Result<http::Reply> post_repeatable(const std::string& target, const std::string& body);
  Result<http::Reply> send(http::Request request, std::optional<Duration> total_timeout = std::nullopt);
  Result<http::Reply> read_json(const std::string& target, const std::string& what);
  Result<std::string> run_script(const std::string& script, std::string_view marker, const std::string& what);

  Result<CompanionAnswer> ask_companion_once(Duration wait);

  ScriptLabels labels_by_script(const std::vector<QueueItem>& items);

  Result<void> toggle_open(const std::string& node, const std::string& what);
  Result<bool> open_by_config(const std::string& node, const std::string& closed_as, const std::string& what);
  bool kick_by_config(const std::string& opened);
  Result<void> kick_by_other_node();
  CreateNode next_throw_away();
  void dispose(const std::string& throw_away);
  void dispose_left_overs();

  Result<void> choose_means(ControllerProfile& profile);
  Result<void> sweep_throw_aways(ControllerProfile& profile);
  Result<void> probe_rights(ControllerProfile& profile);
  Result<void> probe_node(const std::string& node, ControllerProfile& profile, KickMeans& means);

  const ControllerConfig config_;
  const std::string throw_away_prefix_;
  const std::unique_ptr<http::Client> client_;
  mutable std::mutex lock_;  // guards what follows
  std::string session_;
  bool can_script_ = false;
  KickMeans kick_ = KickMeans::other_node;
  bool config_opens_ =
      true;  // until a gate stayed closed after its configuration was posted without the flag
  LabelMemory labels_;
  CompanionTalk companion_;
  std::uint64_t throw_aways_ = 0;
  std::string throw_away_salt_;
  std::set<std::string> left_overs_;  // throw-away nodes whose deletion failed
};

}  // namespace skep::scheduler
