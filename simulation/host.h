// One hypervisor host: the model of what runs on it, agentd's logic with its store, and the agents inside of
// executors, which connect to the controller and run builds. Pure.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "agentd/core/logic.h"
#include "core/prng.h"
#include "drivers/fake/host_model.h"
#include "simulation/controller/controller_model.h"
#include "simulation/disk.h"
#include "simulation/farm.h"
#include "simulation/network.h"

namespace skep::simulation {

struct World;

/// What goes wrong with the sandboxes that a host makes, of a thousand each.
struct LifeWeather {
  int never_boots = 0, never_joins = 0, joins_late = 0, joins_twice = 0, dies = 0, hangs = 0;
};
/// What goes wrong with a driver's verbs, of a thousand each.
struct DriverWeather {
  int fails = 0, fails_for_now = 0, unknown_and_done = 0, unknown_not_done = 0, hangs = 0;
  Duration slow{};       // added to each verb, at most
  bool is_full = false;  // the disk for sandboxes
};

/// The agent process inside of one sandbox, and the builds that it was given.
struct Agent {
  ExecutorId id;
  Ticket ticket;
  bool is_running = false;
  bool never_joins = false, joins_late = false, joins_twice = false;
  bool hangs = false;            // its builds never end
  std::uint64_t connection = 0;  // 0: none
  int process = 0;               // counts agent processes
  Duration join_deadline{};
  Instant gives_up{};
  std::map<std::uint64_t, bool> builds;  // true: done, but nobody could be told
};

class Host {
 public:
  Host(World& world, HostPlan plan, Prng random);

  const HostId& id() const { return plan.host; }
  const std::string& owner() const { return owner_; }

  // --- agentd
  void start_agentd();
  /// As kill -9: drivers' verbs stop half-way. Started again by its service manager after `down`.
  void kill_agentd(Duration down);
  /// As its service manager does: it ends when its logic is ready to, or is killed after `patience`. With
  /// OnStop::keep it waits for a few seconds only.
  void end_agentd(agentd::OnStop on_stop, Duration patience, Duration down);
  /// nullopt: nobody asked it to end.
  std::optional<agentd::OnStop> ends_by() const { return logic ? ends_by_ : std::nullopt; }
  bool is_agentd_up() const { return logic != nullptr; }
  /// By the host's own operator. False: agentd did not answer.
  /// False: agentd could not be asked, ended meanwhile, or may forget it.
  bool set_drain(bool is_draining);
  void handle(agentd::Event event);
  // Its API. Without power there is no answer; without agentd a connection is refused.
  void order(const ExecutorOrder& order, const Caller<ExecutorReport>& caller);
  void destroy(const ExecutorId& executor, Epoch epoch, const Caller<ExecutorReport>& caller);
  void renew(const LeaseRenewal& renewal, const Caller<LeaseReply>& caller);
  /// A blocking query: answered when the report's index is another than `index`, or after `wait`.
  /// Fetches an image, which takes a while. Answered at once; not_found: its catalogue does not have it.
  void pull(const std::string& reference, const Caller<std::string>& caller);
  void read_report(std::uint64_t index, Duration wait, const Caller<HostReport>& caller);

  // --- the machine
  void lose_power(Duration down);
  /// Nothing comes in or goes out; what runs there goes on, and agents try to connect again.
  void cut_off();
  void connect_again();
  bool has_power() const { return has_power_; }

  // --- agents
  void on_agent_command(const controller_sim::AgentCommand& command);
  /// The driver says so, and what is inside goes with its sandbox.
  void on_sandbox_changed(const ExecutorId& id);
  bool carries(const ExecutorId& executor, std::uint64_t build) const;
  /// Builds that hang come to their end.
  void release_hung();
  /// Its sandbox runs: a build in it can make progress.
  bool is_alive(const ExecutorId& executor);

  HostPlan plan;
  drivers::fake::HostModel model;
  std::unique_ptr<agentd::AgentdLogic> logic;
  Disk<agentd::IntentRecord> intents;
  Disk<Epoch> numbers;
  Disk<std::string> drain;
  Link link;           // schedulers to it
  Link registry_link;  // it to the registry
  LifeWeather lives;
  DriverWeather driver;
  Duration wall_offset{};
  Trust trust = Trust::kept;  // of schedulers
  int unusable = 0;           // of a thousand answers: given, and not understood
  int exhausted = 0;          // of a thousand: no descriptor or memory for it
  std::multiset<std::string> missing_images, broken_images;  // broken: listed, and nothing starts from it
  bool is_next_older = false;                                // at its next start
  bool is_drained = false;                                   // as its operator was told
  bool reports_changes = true;
  int crash_after = -1;  // actions until kill -9; -1: none is planned
  Duration next_down = seconds(5);
  std::map<ExecutorId, Agent> agents;
  Epoch highest_epoch = 0;  // that agentd ever wrote down

 private:
  struct Waiter {
    std::uint64_t index = 0;
    std::uint64_t number = 0;
    Caller<HostReport> caller;
  };
  using Asker = std::variant<Caller<ExecutorReport>, Caller<LeaseReply>>;
  static constexpr Duration connect_retry = seconds(2);  // of an agent

  void run(const std::vector<agentd::Action>& actions, std::vector<agentd::Event>& failures);
  bool write(std::vector<const agentd::Action*>& batch, std::set<ExecutorId>& failed,
             std::vector<agentd::Event>& failures);
  bool dies_now();
  bool draws(int of_a_thousand);
  void end_process(Duration down, const std::string& how);
  void wait_for_end(int life, Instant last, Duration down);
  HostReport told() const;
  template <typename T>
  std::optional<std::uint64_t> ask(const Caller<T>& caller);
  void end_requests(bool is_reset);

  // host_driver.cpp
  void call_driver(const agentd::CallDriver& call);
  template <typename Answered>
  void answer(std::optional<Duration> takes, Answered answered);
  void script(drivers::fake::Verb verb, Span takes, bool is_image_broken = false);
  std::vector<std::string> images_there() const;
  void start_sandbox(const agentd::CallDriver& call, const agentd::Start& start);
  void stop_sandbox(const agentd::CallDriver& call, const agentd::Stop& stop);
  void destroy_sandbox(const agentd::CallDriver& call);
  void deliver_ticket(const agentd::CallDriver& call, const agentd::DeliverTicket& delivery);

  // host_agents.cpp
  void plan_agent(const ExecutorId& id, const Ticket& ticket, Duration join_deadline, Instant from);
  void run_agent(const ExecutorId& id, int process);
  void connect(const ExecutorId& id, int process);
  void end_agent(const ExecutorId& id, int exit_code);
  void drop_connection(Agent& agent, Duration after);
  void end_build(const ExecutorId& id, std::uint64_t build, bool is_success);
  void wake_waiters();
  void set_timer();
  void announce();

  World& world_;
  Prng random_;
  std::string owner_;
  int life_ = 0;  // counts agentd's lives
  bool has_power_ = true;
  bool is_cut_off_ = false;
  bool is_older_ = false;
  int last_status_ = 0;  // of a reply
  std::optional<agentd::OnStop> ends_by_;
  std::uint64_t next_request_ = 1;
  std::map<std::uint64_t, Asker> requests_;
  std::vector<Waiter> waiters_;
  std::uint64_t next_waiter_ = 1;
  std::uint64_t shown_index_ = 0;
  std::optional<Instant> timer_;
  std::uint64_t timer_number_ = 0;
};

}  // namespace skep::simulation
