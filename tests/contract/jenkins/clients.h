// Controllers for the adapter: answers from a list, from a recording, and from the stand-in's model in
// virtual time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/http/http_client.h"
#include "scheduler/jenkins/jenkins_controller.h"
#include "simulation/controller/controller_model.h"
#include "tests/contract/support/recordings.h"

namespace skep::scheduler {

/// A recorded answer as the HTTP client hands it over. Pages were not kept: one of the recorded size with its
/// title and message stands for them.
http::Reply reply_of(const recordings::Exchange& exchange);
http::Reply reply_of(int status, http::Headers headers, std::string body);
/// 200, JSON, and the headers of a Jenkins.
http::Reply json_reply(std::string body);

/// Every request that passes through must be one that tests/contract/support/used_requests knows.
class CheckedClient : public http::Client {
 public:
  Result<http::Reply> call(const http::Request& request, std::optional<Duration> total_timeout) final;
  void cancel() final {}

  std::vector<http::Request> requests;
  std::vector<std::optional<Duration>> timeouts;  // of each request; none: the client's own

 protected:
  virtual Result<http::Reply> answer(const http::Request& request) = 0;
};

/// Answers in the order of a list; fails the test when it is used up.
class ScriptedClient : public CheckedClient {
 public:
  explicit ScriptedClient(std::deque<Result<http::Reply>> script) : script_(std::move(script)) {}
  bool is_used_up() const { return script_.empty(); }

 private:
  Result<http::Reply> answer(const http::Request& request) override;
  std::deque<Result<http::Reply>> script_;
};

/// Answers by a function of the request.
class RuleClient : public CheckedClient {
 public:
  using Rule = std::function<Result<http::Reply>(const http::Request&)>;
  explicit RuleClient(Rule rule) : rule_(std::move(rule)) {}

 private:
  Result<http::Reply> answer(const http::Request& request) override { return rule_(request); }
  Rule rule_;
};

/// The stand-in as a peer: one millisecond a request.
class ModelClient : public CheckedClient {
 public:
  ModelClient(controller_sim::Options options, std::string user, std::string token);

  controller_sim::ControllerModel& model() { return model_; }
  Instant now() const { return now_; }
  void pass(Duration time);
  void connect(const std::string& node);
  /// Happens once, as soon as a request has to wait for its answer.
  std::function<void()> meanwhile;

 private:
  Result<http::Reply> answer(const http::Request& request) override;
  controller_sim::HttpReply wait_for(std::uint64_t parked);

  std::string prefix_, authorization_;
  Instant now_{};
  controller_sim::ControllerModel model_;
};

/// The adapter over a client that the test goes on looking at.
template <typename Client>
struct Adapter {
  template <typename... Arguments>
  explicit Adapter(Arguments&&... arguments)
      : Adapter(std::make_unique<Client>(std::forward<Arguments>(arguments)...)) {}

  Client& client;
  JenkinsController controller;

 private:
  explicit Adapter(std::unique_ptr<Client> owned)
      : client(*owned), controller(config(), "farm", std::move(owned)) {}
  static ControllerConfig config() {
    ControllerConfig made;
    made.name = ControllerId("ci");
    made.companion = true;
    return made;
  }
};

}  // namespace skep::scheduler
