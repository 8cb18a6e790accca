// Every recorded request is sent to the stand-in in the state that the recording describes; the answers must
// be as recorded.
#include <algorithm>
#include <catch2/catch.hpp>
#include <regex>

#include "simulation/controller/text.h"
#include "tests/contract/controller_sim/likeness.h"
#include "tests/contract/controller_sim/scenarios.h"
#include "tests/contract/controller_sim/unsupported.h"
#include "tests/contract/support/used_requests.h"

namespace skep::controller_sim::replay_test {
namespace {

using recordings::Exchange;
using recordings::Recording;

/// One recording against one stand-in.
class Replay {
 public:
  explicit Replay(const Recording& recording)
      : recording_(recording), scenario_(scenario_of(recording)), stage_(recording.core, recording.root_url) {
    acted_.resize(scenario_.acts.size() + scenario_.meanwhile.size());
    scenario_.given(stage_);
    for (const Exchange& exchange : recording.exchanges) {
      INFO(recording.file << " step " << exchange.index << ": " << exchange.step << exchange.event);
      run_acts(exchange);
      stage_.pass_to(exchange.at_ms);
      if (!exchange.is_event()) check(exchange);
    }
    for (std::size_t i = 0; i < acted_.size(); ++i) {
      INFO(recording.file << ": an act that never was due: " << act(i).before);
      CHECK(acted_[i]);
    }
  }

 private:
  const Act& act(std::size_t i) const {
    return i < scenario_.acts.size() ? scenario_.acts[i] : scenario_.meanwhile[i - scenario_.acts.size()];
  }

  void run_acts(const Exchange& exchange) {
    bool is_known = !exchange.is_event();
    for (std::size_t i = 0; i < scenario_.acts.size(); ++i) {
      if (!scenario_.acts[i].fits(exchange)) continue;
      acted_[i] = is_known = true;
      scenario_.acts[i].run(stage_, {exchange, recording_});
    }
    INFO("an event of which no table knows");
    CHECK(is_known);
  }

  void check(const Exchange& exchange) {
    const HttpReply reply = send(exchange);
    std::vector<std::string> differences = likeness_.differences(exchange, reply, stage_.wall_ms());
    // The headers of the upgrade are those of remoting, which agents of the stand-in do not speak: the
    // shell's part.
    if (reply.status == 101) differences.clear();
    const std::string reason = why_unsupported(recording_, exchange);
    if (reason.empty()) {
      std::string all;
      for (const std::string& line : differences) all += "\n  " + line;
      INFO(exchange.method << " " << exchange.target << all);
      CHECK(differences.empty());
    } else {
      INFO("listed as unsupported (" << reason << "), but it is as recorded: strike it off the list");
      CHECK_FALSE(differences.empty());
    }
  }

  HttpReply send(const Exchange& exchange) {
    if (exchange.target == "/wsagents/") return join(exchange);
    HeaderList headers;
    for (const auto& [name, value] : exchange.headers) {
      if (name == "Authorization") continue;  // redacted: from `as`
      const bool is_redacted = value.find("<redacted>") != std::string::npos;
      const bool is_hidden_crumb = name == "Jenkins-Crumb";
      headers.emplace_back(name, is_hidden_crumb ? stage_.crumb() : is_redacted ? stage_.cookie() : value);
    }
    if (scenario_.asks_for_first_item) likeness_.learn_item(exchange.target, stage_.first_item());
    HttpReply reply = stage_.send(exchange.as, exchange.method, likeness_.translated(exchange.target),
                                  likeness_.translated(exchange.body), headers);
    if (!reply.parked) return reply;
    for (std::size_t i = 0; i < scenario_.meanwhile.size(); ++i) {
      if (!scenario_.meanwhile[i].fits(exchange)) continue;
      acted_[scenario_.acts.size() + i] = true;
      scenario_.meanwhile[i].run(stage_, {exchange, recording_});
    }
    return stage_.finished(*reply.parked);
  }

  HttpReply join(const Exchange& exchange) {
    std::string name;
    for (const auto& [key, value] : exchange.headers) {
      if (key == "Node-Name") name = value;
    }
    const ConnectResult result =
        stage_.model().agent_connect(name, stage_.model().secret_of(name), stage_.now());
    return {result.status, {}, result.message};
  }

  const Recording& recording_;
  Scenario scenario_;
  Stage stage_;
  Likeness likeness_;
  std::vector<bool> acted_;
};

}  // namespace

TEST_CASE("the stand-in answers as the real controllers did", "[contract]") {
  REQUIRE(recordings::all().size() == 34);
  for (const Recording& recording : recordings::all()) {
    DYNAMIC_SECTION(recording.file) {
      Replay replay(recording);
    }
  }
}

TEST_CASE("nothing that Skep uses is on the list of what the stand-in does not support", "[contract]") {
  std::size_t listed = 0, used = 0;
  for (const Recording& recording : recordings::all()) {
    for (const Exchange& exchange : recording.exchanges) {
      if (exchange.is_event()) continue;
      const bool is_listed = !why_unsupported(recording, exchange).empty();
      const bool is_used = recordings::is_used_by_skep(exchange.method, exchange.target);
      listed += is_listed ? 1 : 0;
      used += is_used ? 1 : 0;
      INFO(recording.file << " step " << exchange.index << ": " << exchange.step);
      CHECK_FALSE((is_listed && is_used));
    }
  }
  CHECK(used > 400);
  CHECK(listed == count_of_unsupported());
}

}  // namespace skep::controller_sim::replay_test
