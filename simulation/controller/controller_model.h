// A stand-in Jenkins controller with the swarm plugin, as a plain object: requests in, replies out, time is
// an argument.
//
// Behaviour: docs of the Jenkins REST API and swarm plugin 3.51 as real controllers were recorded
// (tests/recordings/); where a recording and a document disagree the recording wins. Two core
// generations: 2.479.3 keeps the temporary offline flag in the Computer, 2.528.3 in the Node.
//
// Absolute URLs in replies come from Options::root_url, as from Jenkins' own configuration.
//
// Pure (std and core only), deterministic (seeded), single-threaded, throws nothing, asks no clock. Used by
// the shell (skep-controller-sim), by contract tests and by the simulator.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/time.h"

namespace skep::controller_sim {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string target;  // path and query as on the request line, percent-encoded, prefix included
  HeaderList headers;  // names in any case
  std::string body;
};

/// What the shell shall do to a reply on its way out. A simulator does the same to its virtual network.
struct Delivery {
  Duration delay{};
  bool drop_connection = false;              // processed, but the reply never arrives
  bool slow_loris = false;                   // one byte at a time, about 20 per second
  std::optional<std::size_t> cut_body_at{};  // Content-Length says more than is sent
};

struct HttpReply {
  int status = 200;
  HeaderList headers;
  std::string body;
  Delivery delivery{};
  /// Set: this is no reply yet; the reply with this number comes from take_finished_replies() (blocking
  /// companion script).
  std::optional<std::uint64_t> parked{};
};

/// Short names of Jenkins permissions: see permissions.h for the list and what implies what.
struct User {
  std::string name;
  std::string token;     // API token: no crumb needed
  std::string password;  // real password: a crumb is needed for POST
  std::set<std::string, std::less<>> permissions{"Overall/Administer"};
};

struct Options {
  std::string core_version = "2.479.3";  // or "2.528.3"
  std::string path_prefix;               // "" or "/jenkins"
  std::string
      root_url;  // Jenkins' own idea, for absolute URLs in replies; empty: http://localhost:8080<prefix>/
  std::vector<User> users{{"admin", "admin-token", "admin-password", {"Overall/Administer"}}};
  std::set<std::string, std::less<>> anonymous_permissions{};
  std::uint64_t seed = 1;
  Duration default_quiet_period = seconds(0);  // for freestyle jobs that state none
  int built_in_executors = 0;
  bool has_pipeline = true;  // workflow plugins installed
  /// t0..t1: an executor is assigned, but its build does not exist yet. Uniformly drawn.
  Duration assignment_least = milliseconds(2);
  Duration assignment_most = milliseconds(15);
  /// t3..t4: from a build's end to the queue maintenance that may assign the next one.
  Duration next_assignment = milliseconds(3);
  Duration maintenance_delay = milliseconds(1);  // from a trigger to the queue's maintenance pass
  Duration queue_tick = seconds(5);
  Duration connect_delay = milliseconds(20);  // channel accepted ("INFO: Connected") to offline:false
  Duration flow_start = milliseconds(40);     // pipeline run started to its first node block in the queue
  Duration branch_start = milliseconds(10);   // from one parallel branch's block to the next one's
  Duration trim_labels_every = minutes(5);
  Duration left_item_life = minutes(5);
  /// "Discard old builds" of every job: how many runs it keeps besides those that run. Unset: all.
  std::optional<std::size_t> runs_kept{};
  Duration resume_timeout = minutes(5);  // re-queued pipeline block waits that long for its node
};

enum class JobKind { freestyle, pipeline };

struct NodeBlock {
  std::string label;               // text of node('...'); empty: node {} = any node
  std::string enclosing_name{};    // stage or branch: shown as `part of JOB #N (NAME)`
  Duration duration = seconds(1);  // what the sh step sleeps
  std::string command{};           // run by the agent besides sleeping
  bool empty_block = false;        // node {}: no process on the agent, ends by itself after 50..150 ms
};

struct JobSpec {
  std::string path;  // "app" or "folder/app" (folders come into being)
  JobKind kind = JobKind::freestyle;
  std::string label;  // as typed; empty: any node
  Duration duration = seconds(1);
  std::string command{};
  bool concurrent = false;
  bool empty_block = false;
  std::optional<Duration> quiet_period{};
  bool takes_parameters = false;
  /// Pipelines with more than one block, run one after the other (or all at once). Empty: one block made of
  /// the above.
  std::vector<NodeBlock> blocks{};
  bool parallel = false;
};

using Parameters = std::vector<std::pair<std::string, std::string>>;

/// One occupation of an executor: a freestyle build or one node block. The truth that tests compare with.
struct BuildRecord {
  std::uint64_t id = 0;  // names it to agents; unique over restarts
  std::string job;       // path
  int number = 0;        // of the run
  int block = 0;         // index of the node block
  std::int64_t queue_id = 0;
  std::string node;
  std::optional<Instant> queued_at{}, buildable_at{}, assigned_at{}, started_at{}, ended_at{};
  std::string result{};  // empty while it runs; SUCCESS, FAILURE, ABORTED
  int resumed = 0;       // how often it went on after a restart
};

struct ConnectResult {
  int status = 101;       // 101 accepted; 400, 403, 503 refused
  std::string message{};  // the controller's text
  /// Number of this connection; pass it to agent_disconnect so that a late close does not hit a newer
  /// connection.
  std::uint64_t connection = 0;
};

enum class AgentCommandKind { run_build, resume_build, stop_build, close_channel };

struct AgentCommand {
  AgentCommandKind kind = AgentCommandKind::run_build;
  std::string agent;
  std::uint64_t connection = 0;
  std::uint64_t build = 0;  // BuildRecord::id
  Duration duration{};
  std::string command{};
  std::string remote_fs{};      // of the node: where its builds have their workspaces
  bool survives_agent = false;  // durable task of a pipeline: goes on when the agent process ends
};

enum class FaultKind {
  status,         // value = HTTP status, HTML page
  delay,          // value = milliseconds
  truncate_body,  // value = percent of the body that is sent
  html_with_200,
  half_json,    // well-framed reply whose JSON ends in the middle
  wrong_types,  // numbers become strings, booleans numbers
  duplicate_keys,
  bad_utf8,
  redirect_to_login,
  slow_loris,
  drop_reply,      // processed, then the connection closes
  refuse_request,  // connection closes, nothing processed
  stale_list,      // a GET keeps the first answer it got since the fault was set
  // Befalls the companion before the request is looked at:
  companion_absent,        // it is not there any more
  companion_overflow,      // value = how many of its newest events it still has
  companion_other_version  // an older one is in its place
};
std::optional<FaultKind> parse_fault_kind(std::string_view name);

struct Fault {
  std::string path_prefix;  // after the controller's own prefix: "queue/api", "plugin/swarm"
  FaultKind kind = FaultKind::status;
  std::int64_t value = 0;
  std::optional<int> remaining{};  // unset: until cleared
};

class DirectCalls;

class ControllerModel {
 public:
  ControllerModel(Options options, Instant now, WallTime wall = {});
  ~ControllerModel();
  ControllerModel(ControllerModel&&) noexcept;
  ControllerModel& operator=(ControllerModel&&) noexcept;

  // --- HTTP and time. Every call with a time first does what was due before it.
  HttpReply handle(const HttpRequest& request, Instant now, WallTime wall);
  void advance(Instant now);
  std::optional<Instant> next_deadline() const;
  std::vector<std::pair<std::uint64_t, HttpReply>> take_finished_replies();

  // --- agents
  ConnectResult agent_connect(const std::string& name, const std::string& secret, Instant now);
  void agent_disconnect(const std::string& name, Instant now, std::uint64_t connection = 0);
  /// In order; empties the list. The shell delivers run/resume/stop as messages, close_channel closes.
  std::vector<AgentCommand> take_agent_commands();
  void build_finished_on_agent(const std::string& name, std::uint64_t build, Instant now,
                               bool success = true);

  // --- control: what a person does in the user interface
  void create_job(const JobSpec& spec);
  void delete_job(const std::string& path, Instant now);
  /// Returns the queue id (of the item that it was folded into, if so), or nullopt for an unknown job.
  std::optional<std::int64_t> schedule(const std::string& path, Instant now,
                                       const Parameters& parameters = {},
                                       std::optional<Duration> quiet_period = {});
  void block_job(const std::string& path, bool blocked,
                 Instant now);  // BlockedItem: `A build is already in progress`-like
  void stop_build(const std::string& path, int number, Instant now);
  /// A permanent agent (hudson.slaves.DumbSlave) with its labels; exclusive = tied jobs only.
  void create_permanent_node(const std::string& name, const std::string& labels, bool exclusive,
                             int executors, Instant now);
  void set_quieting_down(bool on, Instant now);
  void delete_node_by_hand(const std::string& name, Instant now);
  /// nullopt: brings it online again.
  void set_offline_by_hand(const std::string& name, const std::optional<std::string>& reason, Instant now);
  /// Cancels one of the queue's items, chosen by a number of any size; nothing when there is none.
  void cancel_by_hand(std::uint64_t choice, Instant now);
  /// False: it is not in the queue any more.
  bool cancel_item(std::int64_t id, Instant now);
  /// Of a user that exists; what an administrator changes in the authorisation matrix.
  void set_permissions(const std::string& user, const std::set<std::string, std::less<>>& permissions);
  /// Stop and start: refused for `down`, then 503 for `starting`, then a new session. keep_queue = a clean
  /// restart (queue.xml).
  void restart(bool keep_queue, Instant now, Duration down = milliseconds(3500),
               Duration starting = milliseconds(2500));
  /// False while a restart is in its first part: the shell refuses connections.
  bool listening() const;
  void misbehave(const Fault& fault);
  /// One of the kinds companion_...: at once, whoever asks next.
  void befall_companion(FaultKind kind, std::int64_t value, Instant now);
  void clear_faults();

  // --- truth
  /// In the order of their starts, without those that forget_builds() took. An index counts all builds that
  /// ever were, so it stays the same build's: builds().front() has first_build().
  const std::deque<BuildRecord>& builds() const;
  std::size_t first_build() const;
  /// nullptr: forgotten, or not there yet.
  const BuildRecord* build(std::size_t index) const;
  /// Indexes of the builds that were started, resumed or ended since the last call, each once, in order.
  std::vector<std::size_t> take_changed_builds();
  /// Id of the build that runs on this node or is assigned to it, also while only its Computer is left. Of
  /// several executors the first that is busy counts.
  std::optional<std::uint64_t> running_build_on(const std::string& node) const;
  std::size_t queue_length() const;
  /// How many events the companion that is in place has numbered.
  std::uint64_t companion_events() const;
  std::vector<std::string> node_names() const;       // without the built-in node
  bool agent_online(const std::string& name) const;  // has a channel
  /// It is online and accepts tasks: whatever matches may be given to it, unless its executors are busy.
  bool takes_builds(const std::string& name) const;
  std::string secret_of(const std::string& name) const;
  std::string session() const;

  // --- forgetting, for a life that is longer than memory. Nothing that still goes on is touched.
  /// Builds with a smaller index, up to the first one that occupies an executor or waits to go on.
  void forget_builds(std::size_t below);
  /// A job that will not come again, with all its runs: true when it is gone (or never was), false while an
  /// item, an executor or a run of it is there. Unlike delete_job() it cancels nothing.
  bool forget_job(const std::string& path);

  struct State;

 private:
  friend class DirectCalls;  // asks State what HTTP would, see direct.h
  std::unique_ptr<State> state_;
};

}  // namespace skep::controller_sim
