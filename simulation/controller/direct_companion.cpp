// DirectCalls' part of the companion: what companion_calls.cpp makes of the same controller. The texts of the
// scripts' answers are made and read here as there.
#include "scheduler/jenkins/scripts.h"
#include "simulation/controller/direct_memory.h"

namespace skep::controller_sim {

using namespace scheduler;

Result<CompanionAnswer> DirectCalls::ask_companion(Instant now) {
  const bool had_base = !memory_->companion.needs_base();
  auto answer = memory_->ask_companion_once(now);
  if (answer) return answer;
  const bool is_misfit =
      answer.error().code == ErrorCode::malformed_reply || answer.error().code == ErrorCode::not_found;
  if (!had_base || !is_misfit || !memory_->companion.needs_base()) return answer;
  return memory_->ask_companion_once(now);
}

Result<CompanionAnswer> DirectCalls::Memory::ask_companion_once(Instant now) {
  const bool installs = companion.needs_base();
  const std::string_view what = installs ? "installing the companion" : "waiting for the companion";
  if (auto refused = arrive(now, Asked::read, what)) {
    if (refused->code == ErrorCode::permission_denied) can_script = false;
    return std::move(*refused);
  }
  if (installs) note_session();
  if (!may("Overall/Administer")) {
    can_script = false;
    return denied("Overall/Administer", Asked::read, what);
  }
  CompanionTalk::Question question;
  question.base = companion.base_to_ask_for();
  const HttpReply reply =
      question.base != 0
          ? state().run_own_script("install", "it.name == '" + std::string(one_build_marker_label) + "'")
          : state().wait_for_own_companion(companion.next(), Duration::zero());
  const std::int64_t wall_ms = state().wall_ms(now);
  return companion.note_answer(question, reply.body, WallTime{wall_ms});
}

bool DirectCalls::has_companion_news(Instant now) const {
  State& state = memory_->state();
  state.advance(now);
  return memory_->companion.needs_base() || state.phase != Phase::up || !memory_->may("Overall/Administer") ||
         !state.has_own_companion() || state.companion->next != memory_->companion.next();
}

void DirectCalls::rebase_companion() {
  memory_->companion.rebase();
}

Result<void> DirectCalls::remove_companion(Instant now) {
  constexpr std::string_view what = "removing the companion";
  if (auto refused = memory_->arrive(now, Asked::order, what)) {
    if (refused->code == ErrorCode::permission_denied) memory_->can_script = false;
    return std::move(*refused);
  }
  if (!memory_->may("Overall/Administer")) {
    memory_->can_script = false;
    return memory_->denied("Overall/Administer", Asked::order, what);
  }
  memory_->state().install_hook(one_build_hook_script);
  memory_->state().remove_own_companion();
  memory_->companion.rebase();
  return {};
}

}  // namespace skep::controller_sim
