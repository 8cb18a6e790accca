// What the shell's connections share: the model, its timer, the agents that are connected, request counters.
// Single-threaded: everything runs on one io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "simulation/controller/controller_model.h"
#include "tests/controller_sim/shell/load.h"

namespace skep::controller_sim {

/// An HTTP connection whose reply comes later (blocking companion script).
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void deliver(HttpReply reply) = 0;
};

/// The WebSocket of one agent.
class AgentLink {
 public:
  virtual ~AgentLink() = default;
  virtual void send(std::string text) = 0;
  virtual void close() = 0;  // orderly, as when a node is deleted
  virtual void cut() = 0;    // as when a cable breaks
};

Instant steady_now();
WallTime wall_now();

class Hub {
 public:
  Hub(boost::asio::io_context& io, ControllerModel model);

  ControllerModel& model() { return model_; }
  /// Call after every use of the model: delivers what it produced and arms the timer for its next deadline.
  void pump();
  void on_listening_changed(std::function<void(bool)> action) { listening_changed_ = std::move(action); }

  HttpReply handle(const HttpRequest& request);
  void park(std::uint64_t id, std::weak_ptr<ReplySink> sink) { parked_[id] = std::move(sink); }
  void add_agent(std::uint64_t connection, const std::string& name, std::weak_ptr<AgentLink> link);
  void agent_said(const std::string& name, const std::string& text);
  void agent_gone(const std::string& name, std::uint64_t connection);
  bool cut_agent(const std::string& name);

  /// Takes the place of the one that is under way.
  void begin_load(LoadSpec spec);
  const std::optional<Load>& load() const { return load_; }

  const std::map<std::string, std::uint64_t>& counters() const { return counters_; }
  void clear_counters() { counters_.clear(); }

 private:
  void deliver(const AgentCommand& command);
  void go_on_with_load();
  struct Agent {
    std::string name;
    std::weak_ptr<AgentLink> link;
  };
  ControllerModel model_;
  boost::asio::steady_timer timer_;
  bool listening_ = true;
  bool pumping_ = false;
  std::function<void(bool)> listening_changed_;
  std::map<std::uint64_t, std::weak_ptr<ReplySink>> parked_;
  std::map<std::uint64_t, Agent> agents_;
  std::map<std::string, std::uint64_t> counters_;
  std::optional<Load> load_;
  boost::asio::steady_timer load_timer_;
};

/// "GET computer/N/api/json": the request with names replaced, for counting; "POST scriptText companion wait"
/// for the companion's scripts.
std::string request_kind(const HttpRequest& request);

}  // namespace skep::controller_sim
