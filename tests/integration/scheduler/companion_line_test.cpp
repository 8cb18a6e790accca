// The line to a companion while an operator has it removed: whatever is under way, it stays out, and what was
// told before is not believed.
#include "scheduler/shell/companion_line.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "scheduler/jenkins/scripts.h"

namespace companion_line_test {

using namespace skep;
using namespace skep::scheduler;

namespace {

constexpr auto limit = std::chrono::seconds(20);

http::Reply reply_with(std::string body) {
  http::Reply reply;
  reply.status = 200;
  reply.headers = {
      {"X-Jenkins", "2.528.3"}, {"X-Jenkins-Session", "5e551011"}, {"Content-Type", "application/json"}};
  reply.body = std::move(body);
  return reply;
}

/// A controller with a companion that answers when the test lets it.
class HeldController : public http::Client {
 public:
  Result<http::Reply> call(const http::Request& request, std::optional<Duration>) override {
    std::unique_lock<std::mutex> guard(lock_);
    const auto is = [&](const char* verb) {
      return request.body.find(std::string("skep-companion%201%20") + verb) != std::string::npos;
    };
    if (request.method == "GET") return reply_with("{}");
    if (is("install")) {
      if (!hold(guard, installing_, holds_installs_)) return cancelled();
      is_in_ = true;
      ++installs_;
      changed_.notify_all();
      return reply_with("skep-companion 1 boot 1\nend 0\n");
    }
    if (is("wait")) {
      if (!is_in_) return reply_with("skep-companion absent\n");
      if (!hold(guard, waiting_, true)) return cancelled();
      return reply_with("skep-companion 1 boot 1 1\n");
    }
    if (is("remove")) {
      if (refuses_) return Error::unknown(ErrorCode::timed_out, "no answer");
      is_in_ = false;
      ++removals_;
      changed_.notify_all();
      return reply_with("skep-companion removed\n");
    }
    return reply_with(std::string(hook_marker) + "\n");
  }

  void cancel() override {
    const std::lock_guard<std::mutex> guard(lock_);
    is_cancelled_ = true;
    changed_.notify_all();
  }

  /// Waits until a question of this kind is under way.
  bool sees_install() { return sees(installing_); }
  bool sees_wait() { return sees(waiting_); }
  void let_go() {
    const std::lock_guard<std::mutex> guard(lock_);
    holds_installs_ = false;
    ++released_;
    changed_.notify_all();
  }
  void refuse_removals(bool refuses) {
    const std::lock_guard<std::mutex> guard(lock_);
    refuses_ = refuses;
  }
  void hold_installs() {
    const std::lock_guard<std::mutex> guard(lock_);
    holds_installs_ = true;
  }
  bool becomes(bool is_in, int installs, int removals) {
    std::unique_lock<std::mutex> guard(lock_);
    return changed_.wait_for(
        guard, limit, [&] { return is_in_ == is_in && installs_ == installs && removals_ == removals; });
  }

 private:
  static Error cancelled() { return Error::unknown(ErrorCode::unavailable, "cancelled"); }
  bool sees(const int& under_way) {
    std::unique_lock<std::mutex> guard(lock_);
    return changed_.wait_for(guard, limit, [&] { return under_way > 0; });
  }
  bool hold(std::unique_lock<std::mutex>& guard, int& under_way, bool holds) {
    if (!holds) return true;
    ++under_way;
    const int released = released_;
    changed_.notify_all();
    changed_.wait_for(guard, limit, [&] { return released_ > released || is_cancelled_; });
    --under_way;
    return !is_cancelled_;
  }

  std::mutex lock_;  // guards what follows
  std::condition_variable changed_;
  bool is_in_ = false, holds_installs_ = false, refuses_ = false, is_cancelled_ = false;
  int installing_ = 0, waiting_ = 0, installs_ = 0, removals_ = 0, released_ = 0;
};

class Line {
 public:
  Line() : Line(std::make_unique<HeldController>()) {}
  ~Line() {
    jenkins.cancel();
    line.stop();
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  /// Waits until so many events of either kind came.
  bool told(std::size_t answers) {
    std::unique_lock<std::mutex> guard(lock_);
    return came_.wait_for(guard, limit, [&] { return answers_.size() >= answers; });
  }
  bool lost(std::size_t times) {
    std::unique_lock<std::mutex> guard(lock_);
    return came_.wait_for(guard, limit, [&] { return lost_.size() >= times; });
  }
  std::vector<bool> bases() {
    const std::lock_guard<std::mutex> guard(lock_);
    return answers_;
  }
  std::vector<std::string> problems() {
    const std::lock_guard<std::mutex> guard(lock_);
    return lost_;
  }

  HeldController& peer;
  JenkinsController jenkins;
  CompanionLine line;

 private:
  explicit Line(std::unique_ptr<HeldController> client)
      : peer(*client),
        jenkins(config(), "farm", std::move(client)),
        line(ControllerId("ci"), jenkins, [this](const Event& event) { note(event); }) {}
  static ControllerConfig config() {
    ControllerConfig made;
    made.name = ControllerId("ci");
    made.companion = true;
    return made;
  }
  void note(const Event& event) {
    const std::lock_guard<std::mutex> guard(lock_);
    if (const auto* answer = std::get_if<CompanionTold>(&event)) answers_.push_back(answer->is_base);
    if (const auto* problem = std::get_if<CompanionLost>(&event)) lost_.push_back(problem->error.message);
    came_.notify_all();
  }

  std::mutex lock_;  // guards what follows
  std::condition_variable came_;
  std::vector<bool> answers_;  // was it a base
  std::vector<std::string> lost_;
};

const std::string by_operator = "it was removed by an operator (skep controller companion --remove)";

}  // namespace

TEST_CASE("a companion that an operator removed is not asked for until it is wanted again") {
  Line farm;
  farm.line.start();
  REQUIRE(farm.told(1));
  REQUIRE(farm.peer.sees_wait());
  REQUIRE(farm.line.remove());
  CHECK(farm.problems() == std::vector<std::string>{by_operator});  // while the question waits
  REQUIRE(farm.line.remove());                                      // idempotent
  REQUIRE(farm.line.resume());
  farm.peer.let_go();  // what waited was asked before the removal
  REQUIRE(farm.told(2));
  CHECK(farm.bases() == std::vector<bool>{true, true});
  CHECK(farm.peer.becomes(true, 2, 2));
}

TEST_CASE("an installation under way while an operator removes the companion is taken back") {
  Line farm;
  farm.peer.hold_installs();
  farm.line.start();
  REQUIRE(farm.peer.sees_install());
  REQUIRE(farm.line.remove());
  CHECK(farm.peer.becomes(false, 0, 1));
  farm.peer.let_go();
  CHECK(farm.peer.becomes(false, 1, 2));
  REQUIRE(farm.lost(2));
  CHECK(farm.problems() == std::vector<std::string>{by_operator, by_operator});
  CHECK(farm.bases().empty());
  REQUIRE(farm.line.resume());
  CHECK(farm.told(1));
}

TEST_CASE("who wants it although it was not removed gets a new base with the next answer") {
  Line farm;
  farm.line.start();
  REQUIRE(farm.peer.sees_wait());
  REQUIRE(farm.line.resume());
  farm.peer.let_go();
  REQUIRE(farm.told(3));
  CHECK(farm.bases() == std::vector<bool>{true, false, true});
  CHECK(farm.peer.becomes(true, 2, 0));
  CHECK(farm.problems().empty());
}

TEST_CASE("a removal that failed is told, and the companion is not asked any more") {
  Line farm;
  farm.line.start();
  REQUIRE(farm.peer.sees_wait());
  farm.peer.refuse_removals(true);
  const auto removed = farm.line.remove();
  REQUIRE_FALSE(removed);
  REQUIRE(farm.lost(2));
  CHECK(farm.problems().back() == "an operator had it removed, which failed: " + removed.error().message +
                                      "; it may still be in the controller");
  farm.peer.let_go();
  farm.peer.refuse_removals(false);
  REQUIRE(farm.line.remove());
  CHECK(farm.problems().back() == by_operator);
  CHECK(farm.bases() == std::vector<bool>{true});
}

}  // namespace companion_line_test
