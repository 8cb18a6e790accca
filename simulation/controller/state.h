// The inside of the stand-in controller. Not a seam: only the model's own sources include it.
//
// Time order: everything that happens later is an Event; advance() runs due events in order of time. The life
// of a build has the instants t0..t4 of the reference: assigned, executable exists, accepted, completed, next
// assignment.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/labels/label_expression.h"
#include "core/prng.h"
#include "simulation/controller/controller_model.h"
#include "simulation/controller/text.h"

namespace skep::controller_sim {

class JsonObject;

inline constexpr const char* built_in_name = "";  // as Jenkins: the node with the empty name

struct OfflineFlag {
  std::string message;
  std::string user;
  std::int64_t timestamp_ms = 0;
};

enum class NodeKind { built_in, permanent, swarm };

struct Node {
  std::string name;
  NodeKind kind = NodeKind::swarm;
  std::string label_text;
  std::set<std::string, std::less<>> previous_labels{};  // since 2.507 their caches are reset too
  bool exclusive = false;
  int executors = 1;
  bool keep = false;  // KeepSwarmClientNodeProperty
  std::string remote_fs{};
  std::string description{};
  Fields environment{};
  std::optional<OfflineFlag> offline{};  // element temporaryOfflineCause; since 2.482 this is the flag itself
  // Made of kind, name and label_text by note_labels():
  LabelSet labels{};
  std::vector<std::string> shown_labels{};  // in the order in which Jenkins shows them
};
/// To be called whenever the label text of a node was set.
void note_labels(Node& node);

/// What a posted config.xml says.
struct NodeConfig {
  std::string label_text;
  bool exclusive = false;
  std::string remote_fs;
  int executors = 1;
  std::optional<OfflineFlag> offline{};
};

/// What createSlave is given.
struct NewNode {
  std::string name;
  std::string hash;  // not empty: a part of the node's name
  std::string labels;
  std::string description;
  std::string remote_fs;
  Fields environment{};
  bool exclusive = true;
  int executors = 1;
  bool keep = false;
  bool replaces = false;      // deleteExistingClients
  bool is_malformed = false;  // a field that the plugin cannot read
};

/// How an order ended, before it is told as a page.
enum class Ending { done, denied, no_node, bad_name, bad_field, exists };
struct Verdict {
  Ending ending = Ending::done;
  std::string text{};  // denied: the permission; bad_name, exists: what is told; a new node: its full name
};

enum class Channel { none, connecting, online };

/// A build or node block on an executor.
struct Occupation {
  std::uint64_t id = 0;
  std::int64_t item = 0;
  std::string computer;
  std::string job;
  int run = 0;  // 0 until the executable exists, for freestyle
  int block = 0;
  std::string build_path{};  // job/NAME/NUMBER/ of its executable
  bool running = false;      // false between t0 and t1
  bool ending = false;       // its end is already an event
  bool pipeline = false;
  std::optional<std::size_t> record{};
  std::optional<Instant> lost_at{};  // pipeline: when the channel went, until it is back
  bool lost_node = false;            // and its node was deleted: the agent must be back AND not set offline
  Instant assigned_at{};
};

struct Computer {
  std::string name;
  bool doomed = false;  // its node was removed while busy: goes when the body ends
  std::vector<std::optional<std::uint64_t>> slots{};  // Occupation ids
  Channel channel = Channel::none;
  std::uint64_t connection = 0;
  bool accepting = true;
  std::optional<OfflineFlag> offline{};  // before 2.482 the flag is here
  std::string offline_reason{};          // why there is no channel
  std::string offline_class{};
  std::vector<std::pair<std::string, int>> one_off{};  // pipeline flows on the built-in node
};

enum class ItemState { waiting, blocked, buildable, pending, left };

struct Job;

/// What the computers with a free slot said to buildable items of one label, in order.
using Refusals = std::shared_ptr<const std::vector<std::string>>;
/// Shared by the items that were told the same, so that all of them can be told something else at once.
struct Told {
  Refusals refusals;
};

struct Item {
  std::int64_t id = 0;
  ItemState state = ItemState::waiting;
  std::string job;
  bool is_flow = false;   // the pipeline itself
  bool is_block = false;  // a node block of a pipeline run
  int run = 0;            // of a block
  int block = 0;
  std::string label;  // as typed; for a resumed block the node's name
  Parameters parameters{};
  std::string user{};
  std::int64_t queued_ms = 0, due_ms = 0, buildable_ms = 0;
  Instant queued_at{}, due{}, left_at{};
  std::optional<Instant> buildable_at{};
  std::string block_reason{};
  std::shared_ptr<Told> told{};  // by the last maintenance pass
  Job* task = nullptr;  // nullptr: there is none. Outlives its open items; never asked by one that left
  bool cancelled = false;
  std::optional<std::pair<std::string, int>> executable{};
  std::optional<std::size_t> resumes{};  // index of the BuildRecord that goes on
  // Of the task, as a reader gets them; kept by describe():
  std::string shown_name{};
  std::string shown_path{};                  // job/NAME/ or job/NAME/NUMBER/
  std::optional<std::string> label_field{};  // labelExpression, for a task that exports it
};

struct Run {
  std::string job;
  int number = 0;
  std::int64_t queue_id = 0;
  std::int64_t started_ms = 0;
  std::int64_t duration_ms = 0;
  bool building = true;
  std::string result{};
  std::string built_on{};
  int next_block = 0;
  int open_blocks = 0;
  int occupations = 0;  // executors that run a part of it
  bool stopped = false;
  std::vector<std::string> console{};
};

struct Job {
  JobSpec spec;
  std::deque<Run> runs{};  // numbers without a gap; old ones may be discarded
  int next_number = 1;
  std::set<int> building{};  // numbers
  int open_items = 0;        // of all kinds, left ones excluded
  int claimed_items = 0;     // buildable or pending, node blocks excluded
  bool blocked = false;
  std::int64_t last_duration_ms = -1;
};

struct CachedLabel {
  LabelExpression expression;
  std::optional<std::vector<std::string>> nodes{};  // as computed when last asked after it was trimmed
  bool is_trimmed = false;                          // to be computed when asked again
  std::uint64_t computed_at = 0;                    // State::label_changes: what would be computed then
};

/// What a maintenance pass can offer to the items of one label, until it assigns one.
struct Offers {
  std::vector<std::pair<Computer*, std::size_t>> open{};  // with its first free slot
  std::shared_ptr<Told> told{};
};
using OffersByLabel = std::map<std::string, Offers, std::less<>>;

enum class EventKind {
  maintain,
  tick,
  trim_labels,
  start_executable,
  finish_build,
  agent_online,
  remove_node,
  start_flow,
  lost_agent_timeout,
  resume_timeout,
  restart_listening,
  restart_up,
  resume_blocks,
  end_of_wait
};

struct Event {
  EventKind kind = EventKind::maintain;
  std::uint64_t id = 0;
  std::string name{};
  int number = 0;
};

/// An ExecutorListener put in through the script console.
struct Hook {
  std::string class_name;
  std::string marker_label;
  bool reports = false;  // writes companion events
  bool tells_paths = false;
};

struct Companion {
  std::string class_name;
  std::string greeting;  // "skep-companion 1"
  std::string boot;
  std::deque<std::string> ring{};
  std::uint64_t next = 1;
};
inline constexpr std::size_t companion_ring_size = 20'000;

struct ParkedReply {
  std::uint64_t id = 0;
  std::uint64_t from = 0;
  Instant until{};
  bool is_own = false;           // by a script of Skep itself
  std::string last_words{};      // the answer, when what it waits for was taken out
  std::optional<Fault> fault{};  // befalls the answer
};
/// "install" for a script that begins so: "// skep-companion 1 install"; empty for every other script.
std::string own_script_verb(const std::string& script);
/// The label that a script looks for on nodes.
std::string marker_label(const std::string& script);

enum class Phase { up, down, starting };

struct Caller {
  std::string name;  // empty: anonymous
  bool by_token = false;
  std::string session_cookie{};
};

struct ParsedRequest {
  const HttpRequest* raw = nullptr;
  std::string method;
  std::vector<std::string> segments;  // decoded, without prefix
  Fields query;
  Fields parameters;  // query and form body
  Caller caller;
  std::string header(std::string_view name) const;
  bool is_post() const { return method == "POST"; }
  /// segments[from...] are api/json.
  bool asks_json(std::size_t from) const {
    return segments.size() == from + 2 && segments[from] == "api" && segments[from + 1] == "json";
  }
};

struct ControllerModel::State {
  State(Options chosen, Instant now, WallTime wall);

  Options options;
  bool flag_in_node;  // core since 2.482
  Prng random;
  Instant clock;
  Instant wall_base;
  std::int64_t wall_base_ms;
  std::multimap<Instant, Event> events;
  std::optional<Instant> maintenance_due{};

  Phase phase = Phase::up;
  int starts = 0;
  int direct_callers = 0;  // how many DirectCalls were made: they share no names
  std::string session_id;
  bool quieting_down = false;

  std::map<std::string, Node> nodes;
  std::map<std::string, Computer> computers;
  /// Every computer with a free slot is in it. Who frees a slot puts its computer in; offers_to() takes out
  /// what is full or gone by then.
  std::set<std::string> maybe_free;
  bool is_consistent() const;
  std::map<std::string, CachedLabel> labels;
  std::uint64_t label_changes = 1;  // of any node: one that comes or goes, or has other labels
  std::map<std::uint64_t, Occupation> occupations;
  std::uint64_t next_occupation = 1;
  std::uint64_t next_connection = 1;
  std::deque<BuildRecord> records;
  std::size_t first_record = 0;  // index of records.front(): older ones are forgotten
  std::set<std::size_t> changed_records;

  std::map<std::string, Job> jobs;
  std::map<std::int64_t, Item> items;  // by id; order of arrival in a list is `order`
  std::vector<std::int64_t> waiting, blocked, buildable, pending;
  // A pass that has nothing to give for any label need not look at the items that the last one has seen.
  std::vector<std::int64_t> unseen;  // became buildable since; may have left again
  bool must_see_all = true;          // a job may block items that it did not block then
  std::map<std::string, std::vector<std::shared_ptr<Told>>, std::less<>> told_by_label;
  std::deque<std::int64_t> left;  // in the order in which they left
  std::int64_t next_item = 1;
  std::map<std::pair<std::string, Parameters>, std::int64_t> last_scheduled;  // for folding
  std::map<std::string, std::int64_t> resume_items;  // by node: block that waits for it after a restart

  std::vector<AgentCommand> commands;
  std::vector<Hook> hooks;
  std::optional<Companion> companion{};
  std::vector<ParkedReply> parked;
  std::vector<std::pair<std::uint64_t, HttpReply>> finished_replies;
  std::uint64_t next_parked = 1;

  std::uint64_t permission_changes = 1;
  std::vector<Fault> faults;
  std::map<std::string, HttpReply> stale;
  std::map<std::string, std::string> sessions;  // cookie -> user logged in by form ("" = nobody)
  std::uint64_t next_session = 1;
  std::vector<std::size_t> to_resume;  // records of blocks that a restart interrupted
  bool restart_keeps_queue = true;

  // --- time
  std::int64_t wall_ms(Instant at) const;
  void at(Instant when, Event event) { events.emplace(when, std::move(event)); }
  void schedule_maintenance();
  void advance(Instant now);
  void run_event(const Event& event);

  // --- labels
  CachedLabel& label(const std::string& text);
  const std::vector<std::string>& label_nodes(CachedLabel& cached);
  void trim_labels(const std::set<std::string, std::less<>>& touched);
  void trim_labels_of(const Node& node, bool is_there);
  void trim_all_labels();
  bool label_offline(CachedLabel& cached);
  int idle_executors_of(const std::vector<std::string>& names) const;
  std::set<std::string, std::less<>> touched_labels(const Node& node) const;

  // --- computers
  const Node* node_of(const Computer& computer) const;
  bool offline(const Computer& computer) const { return offline(computer, node_of(computer)); }
  const OfflineFlag* flag_of(const Computer& computer) const { return flag_of(computer, node_of(computer)); }
  // With its node at hand, if it has one:
  bool offline(const Computer& computer, const Node* node) const;
  const OfflineFlag* flag_of(const Computer& computer, const Node* node) const;
  bool idle(const Computer& computer) const;
  std::string display_name(const std::string& node_name) const;
  void add_node(Node node);
  void remove_node(const std::string& name);
  void set_offline(Computer& computer, std::optional<OfflineFlag> flag);
  void disconnect(Computer& computer, std::string_view reason, std::string_view reason_class);
  void after_disconnect(const std::string& name);
  void drop_if_done(const std::string& computer_name);
  ConnectResult connect(const std::string& name, const std::string& secret);
  std::string secret_of(const std::string& name) const;

  // --- queue
  std::int64_t enqueue(Item item);
  std::optional<std::int64_t> schedule(const std::string& path, const Parameters& parameters,
                                       std::optional<Duration> quiet, const std::string& user);
  bool cancel(std::int64_t id);
  void maintain();
  void maintain_all_buildable(OffersByLabel& offers);
  bool maintain_unseen(OffersByLabel& offers);
  bool maintain_first(OffersByLabel& offers);
  void maintain_buildable(Item& item, OffersByLabel& offers);
  Offers& offers_for(const Item& item, OffersByLabel& offers);
  Offers offers_to(const Item& item);
  void block(Item& item, std::string reason);
  std::optional<std::string> block_reason(const Item& item) const;
  std::optional<std::string> refusal(const Item& item, const Computer& computer, const Node* node);
  void make_buildable(Item& item);
  void leave(Item& item);
  void claim(const Item& item, int change);
  void remove_from_lists(const Item& item);
  void describe(Item& item) const;
  void forget_item(std::int64_t id);
  std::string why(const Item& item);
  std::string cause_of_buildable(const Item& item);
  bool stuck(const Item& item);
  bool any_node_item(const Item& item) const { return is_any_node_text(item.label); }
  std::string task_display_name(const Item& item) const;

  // --- builds
  void assign(Item& item, Computer& computer, std::size_t slot);
  void start_executable(std::uint64_t occupation);
  void bounce(Occupation& occupation);
  void finish(std::uint64_t occupation, const std::string& result);
  void end_later(Occupation& occupation, const std::string& result, Duration delay);
  void finish_run(Run& run);
  void block_over(Run& run, const std::string& result);
  void start_flow(Item& item);
  void next_blocks(const std::string& job, int number);
  void queue_block(Run& run, int block);
  Run* find_run(const std::string& job, int number);
  void stop_run(const std::string& job, int number);
  void lost_agent_timeout(std::uint64_t occupation);
  std::size_t block_count(const Job& job) const;
  NodeBlock block_of(const Job& job, int block) const;
  BuildRecord& record(std::size_t index) { return records[index - first_record]; }
  void begin_run(Job& job, Run run);
  void discard_old_runs(Job& job);
  std::vector<Hook> hooks_for(const Computer& computer) const;
  void report(const std::string& text);
  void report_item(std::string_view kind, const Item& item);
  void end_of_wait(std::uint64_t parked_id);

  // --- restart
  void begin_restart(bool keep_queue, Duration down, Duration starting);
  void come_up();
  void resume_blocks();

  // --- HTTP
  HttpReply handle(const HttpRequest& request);
  HttpReply dispatch(const HttpRequest& request);
  HttpReply route(const ParsedRequest& request);
  HttpReply route_computer(const ParsedRequest& request);
  HttpReply route_queue(const ParsedRequest& request);
  HttpReply route_job(const ParsedRequest& request);
  HttpReply route_swarm(const ParsedRequest& request);
  std::optional<HttpReply> authenticate(ParsedRequest& request);
  bool has(const Caller& caller, std::string_view permission) const;
  std::optional<HttpReply> require(const ParsedRequest& request, std::string_view permission);
  bool is_session(const std::string& cookie) const { return sessions.count(cookie) != 0; }
  bool starts_session(const ParsedRequest& request, const HttpReply& reply) const;
  std::string same_site() const { return flag_in_node ? "; SameSite=Lax" : ""; }
  std::string crumb_for(const Caller& caller) const;
  std::string absolute(std::string_view relative) const { return options.root_url + std::string(relative); }
  std::string local(std::string_view relative) const {
    return options.path_prefix + "/" + std::string(relative);
  }

  HttpReply json_reply(std::string body) const;
  HttpReply exported(const ParsedRequest& request, std::string_view class_name,
                     const std::function<void(JsonObject&)>& fill);
  HttpReply redirect(std::string location) const;
  HttpReply plain(int status, std::string_view content_type, std::string body) const;
  HttpReply empty(int status) const;
  HttpReply page(int status, std::string_view title, std::string_view heading, std::string_view text,
                 std::size_t size);
  HttpReply login_required(const ParsedRequest& request);
  HttpReply not_found();
  HttpReply method_not_allowed();
  HttpReply server_error(int status, std::size_t size);
  HttpReply export_error();
  HttpReply failure(const std::string& message);
  HttpReply jetty_error(int status, const std::string& message) const;
  HttpReply starting_page() const;

  // --- what is read
  HttpReply read_root(const ParsedRequest& request);
  HttpReply read_queue(const ParsedRequest& request);
  HttpReply read_item(const ParsedRequest& request, std::int64_t id);
  HttpReply read_computers(const ParsedRequest& request);
  HttpReply read_computer(const ParsedRequest& request, Computer& computer);
  HttpReply read_label(const ParsedRequest& request, const std::string& text);
  HttpReply read_load(const ParsedRequest& request);
  void expire_left_items();
  void write_item(const Item& item, JsonObject& out, const Caller& caller);
  void write_job(const std::string& path, const Job& job, JsonObject& out, const Caller& caller);
  void write_run(const Job& job, const Run& run, JsonObject& out, const Caller& caller);
  void write_computer(const Computer& computer, JsonObject& out, const Caller& caller);
  void write_monitors(const Computer& computer, JsonObject& out);
  void write_slot(const Computer& computer, std::size_t slot, JsonObject& out, const Caller& caller);
  std::string item_class(const Item& item) const;
  std::vector<std::int64_t> visible_items() const;
  std::string job_url(const std::string& path) const;  // relative: job/Team%20A/job/p/

  // --- orders, however they arrive
  Verdict order_offline(const Caller& caller, Computer& computer, bool toggle, const std::string& message);
  Verdict order_delete(const Caller& caller, const std::string& name);
  Verdict order_create(const Caller& caller, const NewNode& wanted);
  void apply_config(Node& node, NodeConfig config);

  // --- what is posted
  HttpReply change_offline(const ParsedRequest& request, const std::string& name, bool toggle);
  HttpReply delete_computer(const ParsedRequest& request, const std::string& name);
  HttpReply disconnect_computer(const ParsedRequest& request, const std::string& name);
  HttpReply node_config(const ParsedRequest& request, const std::string& name);
  std::string config_xml(const Node& node) const;
  HttpReply post_config(const ParsedRequest& request, Node& node);
  HttpReply create_permanent(const ParsedRequest& request);
  HttpReply create_slave(const ParsedRequest& request);
  HttpReply slave_labels(const ParsedRequest& request, std::string_view action);
  HttpReply script_text(const ParsedRequest& request);
  HttpReply wait_for_events(const std::string& script);
  std::string install_hook(const std::string& script);
  std::string install_companion(const std::string& script);
  std::string list_labels(const std::string& script);
  std::string shown_label(const Item& item);  // as the script console shows it; empty: any node

  // --- the companion, as Skep's own scripts put it in
  bool has_own_companion() const;
  std::string fresh_boot(std::string_view name);
  std::string companion_items();
  std::string companion_events(std::uint64_t from, bool is_own) const;
  std::string install_own_companion(const std::string& marker);
  HttpReply wait_for_own_companion(std::uint64_t from, Duration wait);
  std::string remove_own_companion();
  HttpReply run_own_script(const std::string& verb, const std::string& script);
  void befall_companion(FaultKind kind, std::int64_t value);

  // --- faults
  Fault* fault_for(const std::string& path);
  HttpReply apply_fault(const Fault& fault, const HttpRequest& request);
  void alter(HttpReply& reply, const Fault& fault);
};

/// A job's labelExpression: as typed; a text that does not parse comes back quoted; null = any node.
std::optional<std::string> label_expression_text(const std::string& label);
/// The texts in which Jenkins puts names between quotes (U+2018, U+2019).
std::string quoted(std::string_view name);

}  // namespace skep::controller_sim
