// JenkinsController's part of the companion: which script is posted when. What the answers mean is
// companion.h's part.
#include <algorithm>
#include <chrono>

#include "scheduler/jenkins/answers.h"
#include "scheduler/jenkins/jenkins_controller.h"
#include "scheduler/jenkins/requests.h"
#include "scheduler/jenkins/scripts.h"

namespace skep::scheduler {
namespace {

constexpr Duration longest_wait = minutes(1);
constexpr Duration time_to_answer = seconds(30);  // beyond the wait: compilation, a large queue, the network

WallTime wall_now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<milliseconds>(since).count()};
}

}  // namespace

/// An answer that does not fit is followed by an installation at once.
Result<CompanionAnswer> JenkinsController::ask_companion(Duration wait) {
  const auto needs_base = [this] {
    const std::lock_guard<std::mutex> guard(lock_);
    return companion_.needs_base();
  };
  const bool had_base = !needs_base();
  auto answer = ask_companion_once(wait);
  if (answer) return answer;
  const bool is_misfit =
      answer.error().code == ErrorCode::malformed_reply || answer.error().code == ErrorCode::not_found;
  return had_base && is_misfit && needs_base() ? ask_companion_once(wait) : std::move(answer);
}

Result<CompanionAnswer> JenkinsController::ask_companion_once(Duration wait) {
  wait = std::clamp(wait, Duration::zero(), longest_wait);
  CompanionTalk::Question question;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    question = companion_.next_question(wait);
  }
  const bool installs = question.base != 0;
  const std::string what = installs ? "installing the companion" : "waiting for the companion";
  // Answers of the script console tell no session: a base must not be taken for one of the session before a
  // restart.
  if (installs) {
    if (const auto who = read_json("whoAmI/api/json", what); !who) return who.error();
    const std::lock_guard<std::mutex> guard(lock_);
    question = companion_.next_question(wait);
  }
  http::Request request;
  request.method = "POST";
  request.target = "scriptText";
  request.body = http::form_encode({{"script", question.script}});
  request.content_type = form_type;
  request.is_repeatable = true;
  const auto reply = send(std::move(request), installs ? time_to_answer : wait + time_to_answer);
  if (!reply)
    return Error::unknown(reply.error().code, what + ": " + reply.error().message, reply.error().hint);
  const std::lock_guard<std::mutex> guard(lock_);
  if (reply->status != 200) {
    Error error = error_of(*reply, what, Asked::read);
    if (error.code == ErrorCode::permission_denied) can_script_ = false;  // until the next profile
    return error;
  }
  return companion_.note_answer(question, reply->body, wall_now());
}

void JenkinsController::rebase_companion() {
  const std::lock_guard<std::mutex> guard(lock_);
  companion_.rebase();
}

Result<void> JenkinsController::remove_companion() {
  if (const auto hook = run_script(one_build_hook_script, hook_marker, "installing the one-build hook");
      !hook)
    return hook.error();
  const auto removed = run_script(companion_remove_script(), companion_removed, "removing the companion");
  if (!removed) return removed.error();
  rebase_companion();
  return {};
}

}  // namespace skep::scheduler
