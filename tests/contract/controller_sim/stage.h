// The stand-in in virtual time, with agents that do what real ones did and people who do what the recordings
// say.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "simulation/controller/controller_model.h"
#include "tests/contract/support/recordings.h"

namespace skep::controller_sim {

class Stage {
 public:
  Stage(const std::string& core, const std::string& root_url);

  ControllerModel& model() { return model_; }
  Instant now() const { return now_; }
  std::int64_t wall_ms() const;
  const std::string& core() const { return core_; }

  /// Time passes up to the recorded one; a stage that is late already stays so.
  void pass_to(std::int64_t at_ms);
  void pass(Duration time);
  /// From here on, now is this recorded time: for moments that come when they come, such as the queue's tick.
  void set_clock(std::int64_t at_ms) { late_ = now_ - start_ - milliseconds(at_ms); }
  /// Fails the test when it does not hold in time.
  void until(const std::string& what, const std::function<bool()>& condition, Duration limit = seconds(10));

  HttpReply send(const std::string& as, const std::string& method, const std::string& target,
                 const std::string& body = {}, const HeaderList& headers = {});
  /// The answer to a request that had to wait (HttpReply::parked).
  HttpReply finished(std::uint64_t parked);
  /// As the administrator; fails the test for a status from 400 on.
  HttpReply order(const std::string& target, const std::string& body = {});

  // --- people
  void job(const std::string& path, const std::string& label, Duration duration = seconds(1));
  void job(const JobSpec& spec) { model_.create_job(spec); }
  /// An item of its own, never folded.
  std::int64_t schedule(const std::string& path);
  /// As somebody who presses the button: no parameters.
  std::int64_t press(const std::string& path, std::optional<Duration> quiet = {});
  /// Whatever is queued is cancelled, then one item of each of these jobs waits.
  void renew_items(const std::vector<std::string>& jobs);
  void log_in(const std::string& user, const std::string& password);  // sets cookie()
  const std::string& cookie() const { return cookie_; }               // of the newest session
  const std::string& crumb() const { return crumb_; }                 // as last issued
  void sentinel();
  void create_node(const std::string& name, const std::string& labels);

  // --- agents
  void connect(const std::string& node);
  void kill_agent(const std::string& node);
  bool is_assigned(const std::string& node);
  bool is_running(const std::string& node);
  std::int64_t first_item() const { return queued_.at(0); }
  std::size_t agent_count() const { return agents_.size(); }

 private:
  struct Build {
    std::string node;
    Instant end;
  };

  void advance(Instant until);
  void obey();
  void remember_session(const HttpReply& reply);

  std::string core_;
  Instant start_{}, now_{};
  ControllerModel model_;
  std::map<std::string, std::uint64_t> agents_;  // connection by node
  std::map<std::uint64_t, Build> builds_;
  std::map<std::uint64_t, HttpReply> finished_;
  std::vector<std::int64_t> queued_;
  std::string cookie_, crumb_;
  std::int64_t scheduled_ = 0;
  Duration late_{};
};

}  // namespace skep::controller_sim
