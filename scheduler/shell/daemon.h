// skep-scheduler as one object: the strand that owns SchedulerLogic, the durable store, the lines to
// controllers and hosts, and the API. It turns the world into events and actions into the world; it decides
// nothing.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/http/http_server.h"
#include "common/journal/state_store.h"
#include "common/json/json.h"
#include "common/log/log.h"
#include "common/metrics/metrics.h"
#include "common/shell/worker_pool.h"
#include "scheduler/core/logic.h"
#include "scheduler/jenkins/jenkins_controller.h"
#include "scheduler/shell/companion_line.h"
#include "scheduler/shell/config_file.h"
#include "scheduler/shell/host_link.h"
#include "scheduler/shell/registry.h"

namespace skep::scheduler {

class Daemon {
 public:
  /// `listen`, when not empty, stands instead of what the file says, also of what it says later.
  Daemon(FileConfig config, std::string config_file, std::string listen = {});
  ~Daemon();

  /// Asked for the number of a new term, which must be `at_least`. Without it, the durable state alone counts
  /// them.
  using ClaimEpoch = std::function<Result<Epoch>(Epoch at_least)>;
  void claim_epoch_with(ClaimEpoch claim) { claim_epoch_ = std::move(claim); }
  /// Asked before each event and each action: a process that was stopped for a while must not act on what it
  /// knew before another one led.
  void act_while(std::function<bool()> still_leads) { still_leads_ = std::move(still_leads); }
  /// Reads the durable state, begins a new epoch, opens the API. After an error nothing runs. The epoch is at
  /// least `least_epoch`: hosts refuse a lower one than they know, so a lost state needs a way back.
  Result<void> start(Epoch least_epoch = 1);
  std::string url() const;
  /// Reads the file again; a bad one, or one that retires more than a tenth of the farm without `yes`,
  /// changes nothing. Answers with a sentence for people. Any thread but the strand.
  Result<std::string> reload(bool yes);
  /// Executors run on under their leases. Returns within a few seconds.
  void stop();
  /// Set when the durable store failed: nothing may be done without a record, so the process should end.
  bool has_failed() const { return has_failed_; }
  void on_failure(std::function<void()> callback) { on_failure_ = std::move(callback); }

 private:
  struct ControllerLine {
    std::unique_ptr<JenkinsController> controller;
    std::unique_ptr<CompanionLine> companion;  // where the configuration wants one
    std::unique_ptr<shell::WorkerPool> calls;  // reads and orders
    std::unique_ptr<shell::WorkerPool>
        gates;  // what is urgent while a gate is open: never behind a slow read
  };

  struct HostLine {
    std::shared_ptr<HostLink> link;
    bool is_doubtful = false;  // the registry has not heard of it in time
    bool is_listed = true;     // by the registry
    std::uint64_t heard = 0;   // events of this host so far
    Instant announced{};       // the registry last told of it
  };

  Result<void> open_store();
  Result<LeaderStarted> read_back(Epoch least_epoch);
  Result<void> open_controllers();
  void add_routes();
  void add_read_routes();
  void add_order_routes();
  void add_forget_route();
  void add_companion_route();
  void add_image_routes();
  void add_rollout_routes();
  void set_rollout_metrics(const StatusSnapshot& status);
  /// On the strand. Answers by itself, or when the controller has answered.
  void order_companion(const ControllerId& name, const std::string& action, const http::Responder& responder);
  Result<void> open_registry();
  void close_open_gates();
  void on_host(const HostEndpoint& endpoint);
  void on_host_list(const std::set<HostId>& listed);
  void on_host_event(const Event& event, const HostId& host);
  Result<std::unique_ptr<HostLink>> open_host(const HostEndpoint& endpoint);
  void close_host(std::shared_ptr<HostLink> link);
  void look_at(const HostId& host, const HostLine& line);
  void part_with(const HostId& host);
  bool is_announced(const HostId& host) const;
  /// On the strand: the executors that are given up, or why nothing is.
  Result<std::vector<ExecutorId>> forget_host(const ForgetHost& order, bool is_dry);

  bool may_act() const { return !has_failed_ && (!still_leads_ || still_leads_()); }
  void handle(const Event& event);
  void run_actions(std::vector<Action> actions);
  bool run_records(const std::vector<Action>& actions, std::size_t& next);
  void run(const Action& action);
  void run_controller_action(const Action& action);
  void run_host_action(const Action& action);
  void call_controller(const ControllerId& name, bool is_urgent, Instant due,
                       std::function<Event(JenkinsController&)> call,
                       std::function<Event(const Error&)> refused);
  void call_host(const HostId& host, std::function<Event(HostLink&)> call,
                 std::function<Event(const Error&)> refused);
  void write_log(const Explain& line);
  void write_audit(const Audit& audit);
  /// False: it is lost, and the log says so.
  bool post_event(Event event, bool is_urgent = false);

  using Ask = std::function<http::ServerReply(SchedulerLogic&)>;
  /// Answers from the strand, where the logic lives.
  void ask(http::Responder responder, Ask question);
  /// Feeds an operator's event and answers with {"message"}.
  void order(http::Responder responder, Event event, std::string message);
  http::ServerReply metrics_reply(SchedulerLogic& logic);
  /// On the strand: takes the configuration over, or says why not.
  Result<std::string> apply_config(const FileConfig& next, bool yes);
  json::Json configuration_status() const;

  FileConfig config_;  // once the strand runs, touched on it only
  std::string config_file_;
  std::string listen_;
  WallTime loaded_at_{}, refused_at_{};  // with refusal_: of the last reload; touched on the strand only
  std::string refusal_;                  // empty: the last reload was taken over
  std::unique_ptr<journal::StateStore> store_;
  std::unique_ptr<SchedulerLogic> logic_;  // touched on the strand only
  std::unique_ptr<shell::Strand> strand_;
  std::unique_ptr<shell::WorkerPool> host_calls_;
  std::map<ControllerId, ControllerLine> controllers_;
  std::map<HostId, HostLine> hosts_;  // touched on the strand only
  std::unique_ptr<Registry> registry_;
  bool is_registry_listing_ = false;  // it tells all that it lists, and not again of what stays the same
  std::unique_ptr<http::Server> server_;
  std::atomic<bool> has_failed_{false};
  std::atomic<bool> is_stopping_{false};
  std::function<void()> on_failure_;
  ClaimEpoch claim_epoch_;
  std::function<bool()> still_leads_;
  Epoch epoch_ = 0;
  log::OncePerMinute limiter_;
  metrics::Registry metrics_;
  std::uint64_t audits_ = 0;
};

}  // namespace skep::scheduler
