// Reading the configuration again while everything runs: all of it is taken over, or nothing.
#include <future>

#include "common/shell/clock.h"
#include "scheduler/shell/daemon.h"

namespace skep::scheduler {

using json::Json;

namespace {

/// A tenth of the farm may be retired without being asked for.
constexpr int unasked_share = 10;

Result<void> check_restart(const FileConfig& now, const FileConfig& next) {
  std::string list;
  for (const std::string& key : keys_that_need_a_restart(now, next)) list += (list.empty() ? "" : ", ") + key;
  if (list.empty()) return {};
  return Error::failed(ErrorCode::invalid_input, "a restart is needed for a change of " + list,
                       "restart skep-scheduler; executors run on");
}

/// What may be retired: everything that is there, coming or busy.
int live_executors(const StatusSnapshot& status) {
  int count = 0;
  for (const ExecutorStatus& e : status.executors) {
    count += e.state != ExecutorState::gone && e.state != ExecutorState::destroying &&
                     e.state != ExecutorState::failed
                 ? 1
                 : 0;
  }
  return count;
}

}  // namespace

Result<std::string> Daemon::reload(bool yes) {
  auto next = load_config_file(config_file_);
  if (next && !listen_.empty()) next->listen = listen_;
  auto answer = std::make_shared<std::promise<Result<std::string>>>();
  auto future = answer->get_future();
  const bool is_posted = strand_->post([this, next = std::move(next), yes, answer] {
    auto done = next ? apply_config(*next, yes) : Result<std::string>(next.error());
    if (done) {
      loaded_at_ = shell::wall_now();
      refusal_.clear();
      log::write(log::Level::info, "the configuration was read again: " + *done, {{"file", config_file_}});
    } else {
      refused_at_ = shell::wall_now();
      refusal_ = done.error().message;
      log::write_error("the configuration was not reloaded; the old one stays", done.error());
    }
    answer->set_value(std::move(done));
  });
  if (!is_posted || future.wait_for(seconds(10)) != std::future_status::ready)
    return Error::unknown(ErrorCode::timed_out, "the scheduler did not answer to the reload");
  return future.get();
}

Result<std::string> Daemon::apply_config(const FileConfig& next, bool yes) {
  if (auto checked = check_restart(config_, next); !checked) return checked.error();
  const int retired = logic_->executors_retired_by(next.logic);
  const int all = live_executors(logic_->status(shell::now(), shell::wall_now()));
  if (!yes && retired * unasked_share > all) {
    return Error::failed(ErrorCode::conflict,
                         "it would retire " + std::to_string(retired) + " of " + std::to_string(all) +
                             " executors, more than a tenth of the farm",
                         "skep config reload --yes does it all the same; busy ones finish their build first");
  }
  config_ = next;
  handle(ConfigChanged{next.logic});
  return "reloaded; " + std::to_string(retired) + " executors are replaced or retired";
}

Json Daemon::configuration_status() const {
  return {{"file", config_file_},
          {"loaded_at_ms", loaded_at_.ms_since_epoch},
          {"refused_at_ms", refusal_.empty() ? Json(nullptr) : Json(refused_at_.ms_since_epoch)},
          {"refused", refusal_.empty() ? Json(nullptr) : Json(refusal_)}};
}

}  // namespace skep::scheduler
