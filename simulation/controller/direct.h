// What the Jenkins adapter (scheduler/jenkins/jenkins_controller) makes of a controller, without HTTP, texts
// and JSON in between: the same calls with the same facts and errors, straight out of the model. For the
// simulator, which asks a million times; a contract test lets both stand side by side over random lives of a
// controller.
//
// A call happens at one instant; what the network does to it, and Fault, is the caller's. Messages and
// warnings are shorter than the adapter's, and QueueItem::why is filled only where somebody reads it: for a
// blocked item, and for one whose label no better source tells. Names of throw-away nodes come from a
// counter, not from a clock. Pure, not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "scheduler/core/actions.h"
#include "scheduler/jenkins/companion.h"
#include "simulation/controller/controller_model.h"

namespace skep::controller_sim {

class DirectCalls {
 public:
  /// `model` outlives it. `user`: whose permissions count; must be one of Options::users.
  DirectCalls(ControllerModel& model, scheduler::ControllerConfig config, std::string farm, std::string user);
  ~DirectCalls();

  // As JenkinsController's. While a restart is under way every call is refused or answered 503: orders fail
  // with try_again, reads with unknown, both with unavailable.
  Result<scheduler::ControllerProfile> profile(Instant now);
  Result<scheduler::QueueSnapshot> read_queue(Instant now);
  Result<scheduler::NodesSnapshot> read_nodes(Instant now);
  Result<std::optional<scheduler::NodeFact>> poll_node(const std::string& node, Instant now);
  Result<std::string> create_node(const scheduler::CreateNode& order, Instant now);
  Result<void> close_gate(const std::string& node, const std::string& reason, Instant now);
  Result<scheduler::Opening> open_gate(const std::string& node, Instant now);
  Result<void> kick(Instant now);
  Result<void> delete_node(const std::string& node, Instant now);
  /// As JenkinsController's with no time to wait: what there is to tell at this instant. Who wants the wait
  /// asks again when has_companion_news() says so, or after its time.
  Result<scheduler::CompanionAnswer> ask_companion(Instant now);
  /// A question that waits would be answered now: with news, or because what it waits for is not there.
  bool has_companion_news(Instant now) const;
  void rebase_companion();
  Result<void> remove_companion(Instant now);
  /// A list that nobody reads any more: the next one is made in its place.
  void take_back(scheduler::QueueSnapshot read);
  void take_back(scheduler::NodesSnapshot read);
  /// X-Jenkins-Session of the last answer.
  std::string session() const;

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

}  // namespace skep::controller_sim
