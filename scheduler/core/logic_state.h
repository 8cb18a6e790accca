// Inside of SchedulerLogic. One object; its member functions are spread over files by concern:
//   logic.cpp        routing of events, timers, log lines        executors.cpp  table, steps, ends
//   controllers.cpp  polls, profile, sessions, sentinel          nodes.cpp      what node reads mean, orphans
//   joining.cpp      planned -> idle                             gate.cpp       one build per executor
//   busy.cpp         build, lost node, resume                    leaving.cpp    finished -> gone
//   hosts.cpp        reports, room, leases                       strays.cpp     adopts what no record knows
//   plan.cpp         demand -> launches, openings                forget.cpp     a host that is gone for good
//   operators.cpp    drain, hold, retire, pause, configuration   companion.cpp  what a controller tells
//   images.cpp       versions of images, rollouts            explain.cpp, status.cpp
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/prng.h"
#include "scheduler/core/actions.h"
#include "scheduler/core/config.h"
#include "scheduler/core/demand.h"
#include "scheduler/core/events.h"
#include "scheduler/core/executor.h"
#include "scheduler/core/logic.h"
#include "scheduler/core/pacing.h"
#include "scheduler/core/placement_queue.h"

namespace skep::scheduler {

/// One of the two repeated reads of a controller.
struct Poll {
  bool is_pending = false;
  Duration within = Duration::zero();  // after the last one at the latest, if the interval is longer
  Instant sent{};
  Duration took{};     // the last one that was answered
  Instant retry_at{};  // after failures
  int failures = 0;
  bool is_ok = false;                 // the last answer was good
  std::optional<Instant> ok_started;  // when the last good one was sent
  std::string problem;
};

/// What a list shows already, a companion tells so soon.
inline constexpr Duration news_within = seconds(2);

/// Why no further executor is launched for a class, as of the last pass.
struct Blocked {
  WaitReason reason{};
  std::size_t template_index = 0;
  std::optional<Instant> retry_at;
  std::string text;
};

/// An idle node that is not ours.
struct ForeignNode {
  ExecutorId name;
  LabelSet labels;
};

/// What one pass said of an item: this executor is or will be there for it.
struct Cover {
  std::int64_t item;
  Executor* by;
};

struct Controller {
  explicit Controller(ControllerConfig given)
      : config(std::move(given)), demand(config.name), gates_at_once(config.max_open_gates) {}
  ControllerConfig config;
  DemandBook demand;

  std::optional<ControllerProfile> profile;
  bool is_profile_pending = false;
  bool is_profile_doubted = false;  // the account's rights may have changed since
  Instant profile_sent{};
  Retry profile_retry;
  std::string profile_problem;
  std::string session;
  Instant session_seen{};  // start of the read that brought it

  Poll queue_poll;
  Poll nodes_poll;
  bool is_told = false;  // by its companion; reads are far apart then
  Instant told_at{};
  std::string companion_problem;          // why it does not tell
  std::map<std::int64_t, bool> unlike;    // items in which the last full read differed; true: it had them
  std::optional<Instant> read_again_at;   // because of them, or of nodes that a list did not show
  std::map<std::string, NodeFact> nodes;  // the last good list, by name
  std::map<std::string, int> orphan_sightings;
  std::map<std::string, Call> orphan_deletes;
  Call sentinel_create, sentinel_close;
  Retry sentinel_retry;

  TokenBucket creations;
  std::map<TemplateName, Retry> launch_retries;
  std::map<std::int64_t, ExecutorId>
      consumed;  // items whose executor was just used: until a later queue read
  std::map<std::int64_t, Instant> consumed_at;
  // Of the last pass: by item, who covers it; items that a foreign idle node can take; per template, why no
  // further one of it is launched.
  std::vector<Cover> cover;
  std::set<std::int64_t> elsewhere;
  std::vector<std::optional<Blocked>> blocked;
  std::vector<ForeignNode> free_foreign;  // of the node list that was sent at:
  std::optional<Instant> free_foreign_of;
  int open_gates = 0;                         // offers under way
  int gates_at_once;                          // as many as were watched closely enough of late
  int under_way = 0;                          // executors that are neither idle nor held nor gone
  OneBuildMeans means = OneBuildMeans::gate;  // as last profiled
};

/// An executor on a host that no record knows.
struct Stray {
  Instant met{};           // first report of it
  ExecutorReport report;   // the last one
  bool had_agent = false;  // in any of them
};

struct Host {
  HostReport report;
  bool is_known = false;
  std::string unseen_reason;
  Instant seen{};
  Instant asked{};  // for its last report, which may have waited for us
  Call lease;
  bool is_lease_due = false;
  Resources foreign_use;  // executors there that have no record
  std::int64_t foreign_count = 0;
  std::map<TemplateName, Breaker> breakers;
  std::map<ExecutorId, Instant> strays;  // asked to destroy: not again for a while
  std::map<ExecutorId, Stray> strays_met;
};

/// A host as the plan sees it, also one that does not report: kept while it is in the farm or executors are
/// on record there.
struct HostPlace {
  HostId id;
  Host* host = nullptr;                       // null: never reported, or departed
  std::map<ExecutorId, Executor*> executors;  // on record there
  std::optional<std::size_t> view;            // in LogicState::views
  std::uint32_t revision = 0;                 // another one when os, drivers, images or attributes changed
  bool is_changed = false;                    // since its view was made
};

/// Hosts that do not answer, with their executors that count towards the maximum of a template.
using UnseenHosts = std::map<TemplateName, std::map<HostId, int>>;

/// When something is explained, and what is the same for all items then.
struct Moment {
  Instant at{};
  WallTime wall;
  UnseenHosts unseen;
};

/// What one host was asked to fetch.
struct HostPull {
  Call call;
  Retry retry;
  bool is_unknown = false;  // to its catalogue
  std::string problem;
  std::string boot_id;  // of the agentd that was asked
};

/// Of one image name, what is not on record.
struct ImageWatch {
  Instant since{};        // of the rollout's state, in this term
  VersionFigures before;  // of the current version while nothing was rolled out: what a rollout compares with
  Instant look_again{};   // whether it is done
  std::set<ExecutorId> replaced;  // on their way out for its sake; no more until they are gone
  std::map<std::pair<HostId, std::string>, HostPull> pulls;  // by host and reference
};

/// A read of a node by itself, or of all of them: a list may be older than it claims to be.
struct NodeRead {
  Instant started{};
  bool is_list = false;
};

class LogicState {
 public:
  LogicState(SchedulerConfig given, Prng given_prng);

  // logic.cpp
  std::vector<Action> handle(const Event& event, Instant at, WallTime wall_at);
  std::optional<Instant> next_deadline() const { return deadline_; }
  template <typename T>
  void emit(T action) {
    out_.emplace_back(std::move(action));
  }
  CallId next_call() { return ++calls_; }
  Call new_call() { return Call{next_call(), now}; }
  void say(Level level, std::string message, std::vector<std::pair<std::string, std::string>> fields = {},
           std::string once_key = {});
  void wake_at(Instant when);
  void touch(Executor& e) {
    if (std::exchange(e.is_dirty, true)) return;
    dirty_.push_back(&e);
  }
  void replan() { is_plan_due_ = true; }
  void fence(Epoch epoch_seen, const std::string& where);

  // executors.cpp
  Executor* find(const ExecutorId& id);
  const Executor* find(const ExecutorId& id) const;
  Controller* controller_of(const Executor& e);
  const Controller* controller_of(const Executor& e) const;
  bool is_gated(const Executor& e) const;
  Executor& insert(Executor e);
  void set_state(Executor& e, ExecutorState to);
  void record(const Executor& e) { emit(RecordExecutor{e.record}); }
  void wake(Executor& e, Instant when);
  void advance(Executor& e);
  void fail(Executor& e, const std::string& why, bool is_hosts_fault);
  void note_failure(Executor& e, const std::string& why, bool is_hosts_fault);
  void give_up(Executor& e, const std::string& why, bool is_hosts_fault);
  void finish(Executor& e, const std::string& end);
  bool is_host_known(const HostId& id) const;
  void follow(Executor& e);
  void unfollow(Executor& e);
  bool was_never_open(const Executor& e) const;
  bool is_unused(const Executor& e) const { return !e.record.was_used && !e.offer; }
  void forget_secret(Executor& e) { e.secret.clear(); }

  // joining.cpp
  void launch(Controller& c, std::size_t template_index, std::size_t view_index, const std::string& image);
  void on_node_created(const NodeCreated& event);
  void on_executor_ordered(const ExecutorOrdered& event);
  void advance_planned(Executor& e);
  void advance_coming(Executor& e);
  bool leave_to_host(Executor& e);
  void send_order(Executor& e);
  void look_joined(Executor& e);
  void look_soon(Executor& e, Duration pace);
  std::string labels_text(const Executor& e) const;

  // gate.cpp
  void open_gate(Controller& c, Executor& e, const DemandBook::Entry& item);
  void send_opening(Executor& e);
  void told_busy(Executor& e, bool is_acknowledged);
  void begin_close(Executor& e, const std::string& why);
  void note_opened_by_others(Executor& e);
  bool was_open_before(const Executor& e, const NodeFact& node, Instant started) const;
  bool ensure_closed(Executor& e);
  void on_gate_closed(const GateClosed& event);
  void on_gate_opened(const GateOpened& event);
  void on_kicked(const Kicked& event);
  void advance_idle(Executor& e);
  void advance_gate(Executor& e);
  void note_watch(Executor& e, const NodePolled& event);
  void note_suspension(Instant at, WallTime wall_at);
  void become_closed(Executor& e, Instant acked);
  void look_gate(Executor& e);
  bool keep_closing(Executor& e);
  void resolve_offer(Executor& e);
  void end_offer(Executor& e, bool was_fruitless);
  bool can_offer(const Executor& e) const;
  void count_open(Executor& e);

  // busy.cpp
  void note_builds(Executor& e, const NodeFact& node);
  void note_build(Executor& e, const std::string& path);
  void mark_used(Executor& e);
  void become_busy(Executor& e);
  void advance_busy(Executor& e);
  void look_busy(Executor& e, Instant started);
  void lose_node(Executor& e);
  void advance_lost(Executor& e);
  void advance_unseen_build(Executor& e);
  bool is_awaited(const Controller& c, const Executor& e) const;
  bool is_called_back(const Controller& c, const Executor& e) const;
  bool call_back(Executor& e);
  void begin_resume(Executor& e);
  Instant resume_deadline(const Executor& e) const;
  bool may_still_resume(const Controller& c, const Executor& e) const;
  void abandon_resume(Executor& e);
  void end_resume(Executor& e, const std::string& end);
  void build_over(Executor& e, const std::string& end);

  // leaving.cpp
  void advance_end(Executor& e);
  void start_destroying(Executor& e);
  void advance_destroying(Executor& e);
  void advance_held(Executor& e);
  void look_held(Executor& e);
  void become_gone(Executor& e);
  void on_node_deleted(const NodeDeleted& event);
  void on_executor_destroyed(const ExecutorDestroyed& event);

  // controllers.cpp
  Controller* controller(const ControllerId& id);
  const Controller* controller(const ControllerId& id) const;
  void advance_controllers();
  void advance_profile(Controller& c);
  void doubt_profile(Executor& e, const Error& error);
  void advance_poll(Controller& c, Poll& poll, bool is_queue);
  Duration poll_interval(const Controller& c, bool is_queue) const;
  bool is_active(const Controller& c) const;
  void note_answered(Poll& poll, Instant started);
  void end_poll(Controller& c, Poll& poll, Instant started, const Error* error, bool is_queue);
  void read_soon(Poll& poll) { poll.within = Duration::zero(); }
  void read_within(Poll& poll, Duration after_last) { poll.within = std::min(poll.within, after_last); }
  void on_profiled(const ControllerProfiled& event);
  void on_queue_read(const QueueRead& event);
  void resolve_hidden(Controller& c);
  bool note_session(Controller& c, const std::string& session, Instant started);
  void restart_session(Controller& c);
  void drop_consumed(Controller& c, Instant started);
  void take_queue(Controller& c, const QueueSnapshot& queue, Instant started);
  bool is_fresh(const Poll& poll, Duration limit) const;
  /// What is known of its queue, or of its nodes, is young enough to act on.
  bool is_list_fresh(const Controller& c, bool is_queue) const;
  void doubt_facts(Instant from);
  bool is_known(const Controller& c) const;
  std::string freeze_reason(const Controller& c) const;
  void advance_sentinel(Controller& c);
  bool on_sentinel_created(const NodeCreated& event);
  bool on_sentinel_closed(const GateClosed& event);

  // nodes.cpp
  void on_nodes_read(const NodesRead& event);
  void keep_nodes(Controller& c, const std::vector<NodeFact>& read);
  void on_node_polled(const NodePolled& event);
  void apply_node(Executor& e, const NodeFact* fact, NodeRead read);
  void node_absent(Executor& e);
  bool doubts_absence(Controller& c, Executor& e);
  void taken_by_hook(Executor& e);
  void went_on_and_left(Executor& e);
  void node_present(Executor& e);
  void sweep_orphans(Controller& c);

  // hosts.cpp
  void on_host_reported(const HostReported& event);
  void on_host_unseen(const HostUnseen& event);
  void on_host_departed(const HostDeparted& event);
  void drop_host(const HostId& id);
  bool may_depart(const HostId& host) const;
  void on_leases_renewed(const LeasesRenewed& event);
  void apply_report(Executor& e, const ExecutorReport& report);
  void missing_on_host(Executor& e, const std::string& why);
  void advance_hosts();
  HostPlace& place_of(const HostId& id);
  void changed(HostPlace& place);
  const HostView* view_of(const HostId& id) const;
  void rebuild_view(HostPlace& place);
  void drop_view(HostPlace& place);
  void refresh_views();
  bool is_draining(const HostId& id) const;
  bool is_draining(const Executor& e) const;

  // companion.cpp
  void on_companion_told(const CompanionTold& event);
  void on_companion_lost(const CompanionLost& event);
  void lose_companion(Controller& c, const std::string& why);
  void advance_companion(Controller& c);
  /// It is told, but not even "nothing" was for too long: a stopped process hears so before its line does.
  bool is_silent(const Controller& c) const;
  void compare_queue(Controller& c, const QueueSnapshot& read);
  void apply_news(Controller& c, const NodeNews& news);
  void look_at_news(Executor& e);
  NodeFact fact_by_news(const Executor& e) const;
  void note_online(Executor& e);
  void note_accepted(Executor& e, const std::string& path);
  void note_completed(Executor& e, const std::string& path);

  // strays.cpp
  void meet_strays();
  void meet_stray(Host& host, const ExecutorReport& report, bool is_new);
  void destroy_stray(Host& host, const ExecutorReport& report);
  void forget_absent_strays(Host& host);
  void audit_stray(const HostId& host, const Stray& stray);
  void adopt(const HostId& host, const ExecutorReport& report, const ControllerId& of);
  void adopt_idle(const HostId& host, const ExecutorReport& report, const ControllerId& of);
  Executor adopted(const HostId& host, const ExecutorReport& report, const ControllerId& of);

  // plan.cpp
  void plan();
  void plan_controller(Controller& c);

  // operators.cpp
  void on_leader_started(const LeaderStarted& event);
  void on_config(const ConfigChanged& event);
  void on_drain(const DrainHost& event);
  void on_undrain(const UndrainHost& event);
  void on_hold(const HoldExecutor& event);
  Result<void> may_hold(const ExecutorId& id) const;
  void on_retire(const RetireExecutor& event);
  /// Unless `even_if_busy`, a build on it runs to its end. Ends a hold.
  void retire(Executor& e, const std::string& end, bool even_if_busy);
  void load_config();
  int retired_by(const SchedulerConfig& next) const;

  // forget.cpp
  void on_forget(const ForgetHost& event);
  Result<std::vector<ExecutorId>> given_up_with(const HostId& id, Instant at) const;
  std::optional<std::string> why_agent_unknown(const Executor& e) const;
  void give_up_sandbox(Executor& e);
  void meet_given_up(Host& host, Executor& e, const ExecutorReport& report);
  bool is_in_farm(const HostPlace& place) const;

  // images.cpp
  void on_roll_out(const RollOutImage& event);
  void on_roll_back(const RollBackImage& event);
  void on_image_pulled(const ImagePulled& event);
  /// Something changed that a rollout waits for.
  void look_at_images() { is_images_due_ = !images.empty(); }
  void advance_images();
  /// nullptr: it is pinned, or its host chooses the version.
  const ImageVersions* versions_of(const Template& value) const;
  /// What it was made from, as an order names it; empty: not known.
  std::string image_of(const Executor& e) const;
  /// What a launch of this template may name, the wanted one first.
  std::vector<std::string> references_for(const Template& value) const;
  /// What its idle executors should be made from; nullopt: they stay.
  std::optional<std::string> replacing_reference_of(const Template& value) const;
  /// The template with this image in place of its own.
  std::shared_ptr<const Template> variant(std::size_t template_index, const std::string& image);
  /// A version that is not the current one: its failures are no fault of the template's or the host's.
  bool is_on_trial(const Executor& e) const;
  void note_start(const Executor& e);
  void note_joined(Executor& e);
  void note_start_failed(Executor& e, bool is_hosts_fault);
  void note_build_ended(const Executor& e, bool is_lost);
  Result<ImageVersions> rolled_out(const RolloutOrder& order, WallTime at) const;
  Result<ImageVersions> rolled_back(const std::string& image, WallTime at) const;
  ImageStatus image_status(const ImageVersions& image) const;
  std::string image_note(const Template& value) const;
  /// The template as it is launched when the wanted version has no room: what then keeps it from any host.
  Template with_image(const Template& value) const;

  // explain.cpp, status.cpp
  UnseenHosts find_unseen() const;
  Explanation explain_item(const Controller& c, const DemandBook::Entry& entry, const Moment& at) const;
  HostStatus host_status(const HostPlace& place, Instant at) const;
  Blocked why_blocked(const Controller& c, const DemandClass& demand_class) const;
  StatusSnapshot status(Instant at, WallTime wall_at) const;

  SchedulerConfig config;
  Prng prng;
  Instant now{};
  WallTime wall{};
  Epoch epoch = 0;
  Instant led_since{};
  Instant facts_from{};   // what was read before tells nothing: this machine was suspended meanwhile
  std::string fenced_by;  // not empty: another leader has a higher epoch; nothing is done any more
  bool is_paused = false;
  std::string pause_reason;
  Counters counters;

  std::vector<std::shared_ptr<const Template>> templates;
  TemplateIndex template_index;
  std::map<ControllerId, Controller> controllers;
  std::map<HostId, Host> hosts;
  std::map<HostId, std::string> drains;
  std::map<ExecutorId, Executor> executors;
  std::map<HostId, HostPlace> places;
  /// Those that a pass must look at: on their way, idle, or ended unused; not the many that run a build. In
  /// no order.
  std::vector<Executor*> in_play;
  std::set<ExecutorId>
      making_room;  // spare ones on their way out because jobs wait; no more until they are gone
  std::map<TemplateName, int> busy_of;          // executors in state busy
  std::vector<HostView> views;                  // of `places`, in no order; kept in step by refresh_views
  Placements placements;                        // over `views`
  std::set<HostId> broken_hosts;                // with a breaker that is or was open
  std::map<std::string, ImageVersions> images;  // those on record, by name
  std::map<std::string, ImageWatch> image_watches;

 private:
  void advance_image(ImageVersions& image);
  void advance_rolling(ImageVersions& image, const std::vector<const HostView*>& serving);
  void become(ImageVersions& image, RolloutState state, const std::string& reason);
  void judge(ImageVersions& image);
  void give_up_trial(const ImageVersions& image);
  bool may_be_unseen() const;
  bool has_others_left(const ImageVersions& image) const;
  void pull(const ImageVersions& image, const std::vector<const HostView*>& serving);
  std::vector<const HostView*> hosts_serving(const std::string& image) const;
  int coming_of(const std::string& reference) const;
  std::string hosts_boot(const HostId& id) const;
  VersionFigures* figures_of(const Executor& e, bool& is_recorded);
  void wake_images(Instant when) {
    if (!images_wake_ || when < *images_wake_) images_wake_ = when;
  }
  void route(const Event& event);
  void settle();
  void find_deadline();

  std::vector<Action> out_;
  CallId calls_ = 0;
  std::uint64_t names_ = 0;
  std::uint64_t reports_ = 0;   // of hosts, so far
  Executor* newest_ = nullptr;  // of the last launch
  struct IsSooner {
    bool operator()(const Executor* a, const Executor* b) const {
      return *a->wake != *b->wake ? *a->wake < *b->wake : a->id() < b->id();
    }
  };
  std::vector<Executor*> dirty_;         // in no order
  std::set<Executor*, IsSooner> wakes_;  // those that have a `wake`
  bool is_plan_due_ = false;
  std::optional<Instant> deadline_;
  std::optional<Instant> extra_wake_;
  std::optional<Instant> plan_wake_;
  std::optional<Instant> lease_round_;
  bool is_any_lease_due_ = false;
  std::vector<HostPlace*> changed_places_;
  std::vector<HostPlace*> view_places_;  // whose view each one is
  std::map<std::string, Instant> said_;
  bool is_images_due_ = false;
  std::optional<Instant> images_wake_;
  std::map<std::pair<std::size_t, std::string>, std::shared_ptr<const Template>> variants_;
  friend class PlanPass;
};

struct SchedulerLogic::State : LogicState {
  using LogicState::LogicState;
};

}  // namespace skep::scheduler
