// A small deterministic world around SchedulerLogic: one controller, some hosts, virtual time. It interprets
// actions, answers with events, keeps the true record of builds, and may be told to answer wrongly. No
// threads, no sleeping.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "scheduler/core/gate_looks.h"
#include "scheduler/core/logic.h"

namespace skep::scheduler::testing {

struct Fault {
  Error error;
  bool is_done = false;  // it happened all the same
};

struct Node {
  NodeFact fact;
  LabelSet labels;
  bool takes_unlabelled = false;
  bool is_hooked = false;
  bool is_accepting = true;
  int generation = 0;
};

struct Job {
  QueueItem item;
  Duration length = seconds(1);
  std::string build;
};

struct HostExecutor {
  ExecutorReport report;
  Ticket ticket;
  int generation = 0;
};

struct TestHost {
  HostReport report;
  std::map<ExecutorId, HostExecutor> executors;
  std::set<ExecutorId> leaving;  // as its answers to renewals say
  bool is_reachable = true;
  std::set<std::string> catalogue;  // what it can fetch when it is asked to
};

class World {
 public:
  explicit World(SchedulerConfig config, OneBuildMeans means = OneBuildMeans::gate);

  // The controller
  std::int64_t add_job(const std::string& label, Duration length = seconds(1), bool is_block = true);
  std::int64_t add_item(QueueItem item, Duration length = seconds(1));
  void remove_item(std::int64_t id) { jobs.erase(id); }
  void restart_controller();
  void disconnect(const std::string& node);
  void maintain();

  // Hosts
  /// An executor of an earlier leader, connected, and its node, on which a build runs or none does.
  NodeFact& add_stranger(const std::string& host, bool is_busy);
  TestHost& add_host(const std::string& name, std::int64_t cpu_millis = 8000, std::int64_t max_executors = 8);
  void report(const HostId& host);

  // The logic
  void start(Epoch epoch = 1);
  void restart_scheduler(Epoch terms = 1);  // more than one: somebody else led meanwhile  // kill -9: pending
                                            // answers are lost, records stay
  void send(const Event& event);
  void run_for(Duration d);
  /// Until the condition holds; fails the test when it does not within `limit` of virtual time.
  bool run_until(const std::function<bool()>& condition, Duration limit = minutes(5));
  /// One executor is in reserve, and has been for a while.
  bool has_warm_one();
  StatusSnapshot status() const { return logic->status(now, wall()); }
  Explanation explain(std::int64_t item) const;
  WallTime wall() const { return WallTime{1'790'000'000'000 + to_ms(now.time_since_epoch() + suspended)}; }

  // What happened
  template <typename T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const Action& action : log) {
      if (const T* match = std::get_if<T>(&action)) found.push_back(*match);
    }
    return found;
  }
  template <typename T>
  std::size_t count() const {
    return all<T>().size();
  }
  /// Position in the log of the first action of this kind that the predicate accepts; log.size() if none.
  template <typename T>
  std::size_t first(const std::function<bool(const T&)>& accepts, std::size_t from = 0) const {
    for (std::size_t i = from; i < log.size(); ++i) {
      const T* match = std::get_if<T>(&log[i]);
      if (match != nullptr && accepts(*match)) return i;
    }
    return log.size();
  }
  std::map<std::string, int> builds_per_node() const;
  std::size_t executors_on_hosts() const;
  bool is_clean() const;  // no node of ours, nothing on hosts

  SchedulerConfig config;
  OneBuildMeans means;
  std::unique_ptr<SchedulerLogic> logic;
  Instant now{};
  Epoch epoch = 0;
  std::vector<Action> log;
  std::map<std::string, Node> nodes;
  std::map<std::int64_t, Job> jobs;                         // the queue
  std::vector<std::pair<std::string, std::string>> builds;  // node, build: the true record
  std::map<std::string, std::string> running;               // node -> build
  std::map<HostId, TestHost> hosts;
  std::map<ExecutorId, ExecutorRecord> records;
  std::map<std::string, ImageVersions> images;  // as recorded
  std::map<ExecutorId, std::string> made_from;  // what hosts were asked to make each one from
  std::string session = "s1";
  bool is_controller_up = true;
  bool is_quieting_down = false;
  bool watches = false;        // open gates are watched as the shell does it, not look by look
  bool opening_kicks = false;  // the account's way of opening a gate makes the queue look, too
  bool hides_labels = false;   // as without scripts: with one matching node it names that node, not the label
  Duration round_trip = milliseconds(2);
  Duration boot_time = milliseconds(300);
  bool agents_connect = true;
  std::set<std::string> bad_images;             // their agents end at once
  std::map<std::string, Duration> slow_images;  // and their boot time
  Duration fetch_time = seconds(5);
  Duration suspended{};  // the scheduler's machine was, altogether: its own clock stood still
  int restarts = 0;
  std::vector<std::string> missing_permissions;
  /// False: the scheduler is killed before this action; the world does nothing for it any more.
  std::function<bool(const Action&)> before_action = [](const Action&) { return true; };
  std::function<std::optional<Fault>(const Action&)> fault = [](const Action&) { return std::nullopt; };

 private:
  void later(Duration d, std::function<void()> what);
  void answer(Duration d, Event event);
  void interpret(const Action& action);
  void report_all(int incarnation);
  void play(const CreateNode& a);
  void play(const CloseGate& a);
  void play(const OpenGate& a);
  void play(const Kick& a);
  void play(const DeleteNode& a);
  void play(const OrderExecutor& a);
  void play(const DestroyExecutor& a);
  void play(const PullImage& a);
  void play_read(const Action& a);
  QueueItem shown(const QueueItem& item) const;
  struct Watching {
    PollNode order;
    GateLooks looks;
    int incarnation = 0;
  };
  void watch(Watching w);
  void watch_answered(Watching w, Instant started, std::optional<NodeFact> fact);
  void boot(const HostId& host, const ExecutorId& id, int generation);
  void connect(const HostId& host, const ExecutorId& id, int generation);
  void assign(std::int64_t id, Node& node);
  void remove_node(const std::string& name);
  Error down() const { return Error::try_again(ErrorCode::unavailable, "connection refused"); }

  std::multimap<Instant, std::function<void()>> agenda_;
  std::int64_t next_item_ = 1;
  int incarnation_ = 0;
  bool is_killed_ = false;
  int generations_ = 0;
};

Template make_template(const std::string& name, const std::string& labels);
SchedulerConfig make_config(std::vector<Template> templates = {make_template("linux", "linux x86")});

}  // namespace skep::scheduler::testing
