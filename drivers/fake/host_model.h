// What a hypervisor host does, without one: sandboxes that take time to be made, to boot and to join, that
// end by themselves, and verbs that fail, answer "unknown" or never answer. Pure: time is an argument,
// nothing is random; the caller scripts the behaviour, so the same calls give the same answers on every
// platform.
//
// The simulator drives it in virtual time; FakeDriver wraps it as a blocking driver that passes the contract
// suite of all drivers, so that model and real drivers cannot drift apart unnoticed.
//
// A verb takes effect when it is called and is answered `takes` later; what can be seen in between is what a
// second process would see: `creating`. `now` must never go back. Not thread-safe.
//
// How the faults of real hosts are played:
//   a tool fails, or fails for now     script_next(verb, {Fault::fails | Fault::fails_for_now, takes, code})
//   it was done, but nobody heard so   script_next(verb, {Fault::unknown_and_done})
//   a slow host; one that hangs        script_always(verb, {Fault::none, seconds(30)}); Fault::hangs
//   disk full                          script_next(Verb::start, {Fault::fails, {},
//   ErrorCode::out_of_resources}),
//                                      or ModelOptions::capacity
//   image missing                      ModelOptions::images
//   boots and never joins              LifeScript::join = nullopt
//   dies by itself                     LifeScript::dies, kill_sandbox(), reboot()
//   agentd is killed inside a verb     kill_driver_process()
//   somebody else meddles              add_foreign(), remove_behind_our_back()
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "drivers/api/driver.h"

namespace skep::drivers::fake {

enum class Verb { probe, list, inspect, start, stop, destroy, recover, deliver_ticket };

enum class Fault {
  none,
  fails,             // nothing happens; outcome failed
  fails_for_now,     // nothing happens; outcome try_again
  unknown_and_done,  // it happens all the same; outcome unknown
  unknown_not_done,  // nothing happens; outcome unknown
  hangs,             // nothing happens and no answer comes
};

/// How one call goes. Fault::none and no delay when nothing is scripted.
struct CallScript {
  Fault fault = Fault::none;
  Duration takes = Duration::zero();
  ErrorCode code = ErrorCode::unavailable;  // of the error, when there is one
};

/// How a sandbox lives; times count from the end of the step before.
struct LifeScript {
  Duration boot = Duration::zero();                 // running -> agent process started
  std::optional<Duration> join = Duration::zero();  // started -> connected; nullopt: never
  std::optional<Duration> agent_ends;  // connected (or started, when it never connects) -> agent ended
  int agent_exit_code = 0;
  std::optional<Duration> dies;  // running -> the sandbox ends by itself
};

struct ModelOptions {
  std::vector<std::string> images;  // besides the empty name; when empty, every name is there
  std::optional<Resources>
      capacity;     // nullopt: no limit; else start() is refused (out_of_resources/try_again)
  LifeScript life;  // of sandboxes without a script of their own
};

template <typename T>
struct Answer {
  Result<T> result;
  std::optional<Duration>
      takes;  // nullopt: no answer ever comes, and `result` is what a caller that gives up must assume
};

class HostModel {
 public:
  explicit HostModel(ModelOptions options = {}) : options_(std::move(options)) {}

  // The verbs of the driver contract, for one owner of sandboxes.
  Answer<ProbeReport> probe();
  Answer<std::vector<Instance>> list(const std::string& owner, Instant now);
  Answer<Instance> inspect(const std::string& owner, const ExecutorId& id, Instant now);
  Answer<Instance> start(const std::string& owner, const StartRequest& request, Instant now);
  Answer<void> stop(const std::string& owner, const ExecutorId& id, Duration deadline, Instant now);
  Answer<void> destroy(const std::string& owner, const ExecutorId& id, Instant now);
  Answer<Instance> recover(const std::string& owner, const InstanceHandle& handle, Instant now);
  Answer<void> deliver_ticket(const std::string& owner, const ExecutorId& id, const Ticket& ticket,
                              Instant now);

  // What the world does besides; none of it can fail.
  void script_next(Verb verb, CallScript script);                    // once, first in first out
  void script_always(Verb verb, CallScript script);                  // when nothing is scripted for once
  void script_life(const ExecutorId& id, LifeScript script);         // before it is started
  void kill_sandbox(const ExecutorId& id, Instant now);              // it ends by itself
  void end_agent(const ExecutorId& id, int exit_code, Instant now);  // its agent process ends
  void remove_behind_our_back(const ExecutorId& id);                 // an operator deletes it
  void add_foreign(const ExecutorId& id, Instant now);               // somebody else's sandbox
  /// Its agent is connected to the controller; false when there is no agent that could be.
  bool connect_agent(const ExecutorId& id, Instant now);
  void set_images(std::vector<std::string> images) { options_.images = std::move(images); }
  void reboot(Instant now);               // all sandboxes end
  void kill_driver_process(Instant now);  // verbs under way stop half-way

  /// What inspect() would say of whatever has this id, without its script; nullopt: nothing of it exists.
  std::optional<Instance> look_at(const ExecutorId& id, Instant now) const;
  /// Taken by all sandboxes, half-made ones included.
  Resources resources_in_use(Instant now) const;
  /// What is kept about an id that will never come again.
  void forget(const ExecutorId& id);
  /// What list() would say, without its script.
  std::vector<Instance> peek(const std::string& owner, Instant now);
  /// The next instant after `now` at which a sandbox changes by itself; nullopt: never.
  std::optional<Instant> next_change(Instant now) const;
  /// Whose sandbox changes in (after, until], in order of id.
  std::vector<std::pair<std::string, ExecutorId>> changed_between(Instant after, Instant until) const;
  /// Everything that takes room, whoever owns it.
  std::size_t count_sandboxes(Instant now) const;
  /// How often start() made a sandbox of that id: never more than once.
  int times_made(const ExecutorId& id) const;

 private:
  struct Sandbox {
    std::string owner;
    Epoch epoch = 0;
    Resources resources;
    LifeScript life;
    std::uint32_t attempt = 0;
    std::optional<Instant> runs_from;   // nullopt: made half-way only
    std::optional<Instant> agent_from;  // agent process started
    std::optional<Instant> connected_from, agent_ended_from;
    std::optional<Instant> exited_from;
    bool is_leaving = false;  // destroy is under way or stopped half-way
    std::optional<Instant> gone_from;
    int exit_code = 0;
  };
  CallScript take_script(Verb verb);
  Sandbox* find(const std::string& owner, const ExecutorId& id, Instant now);
  Instance look(const ExecutorId& id, const Sandbox& sandbox, Instant now) const;
  Answer<Instance> look_answer(Verb verb, const std::string& owner, const ExecutorId& id, Instant now);
  Result<void> refuse_start(const std::string& owner, const StartRequest& request, Instant now);
  void sweep(Instant now);
  static void begin_agent(Sandbox& sandbox, Instant from);
  static std::vector<Instant> changes_of(const Sandbox& sandbox);

  ModelOptions options_;
  std::map<ExecutorId, Sandbox> sandboxes_;
  std::map<ExecutorId, LifeScript> lives_;
  std::set<ExecutorId> gone_;
  std::map<ExecutorId, int> made_;
  std::map<Verb, std::deque<CallScript>> once_;
  std::map<Verb, CallScript> always_;
};

}  // namespace skep::drivers::fake
