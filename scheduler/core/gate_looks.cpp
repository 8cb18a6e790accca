#include "scheduler/core/gate_looks.h"

#include <algorithm>
#include <utility>

namespace skep::scheduler {

GateLooks::GateLooks(PollNode order, Instant now)
    : until_(now + order.watch_for),
      last_{std::move(order.controller), std::move(order.node), now,
            Error::unknown(ErrorCode::generic, "nobody looked at the node"), std::nullopt} {}

/// The gaps between looks.
void GateLooks::note_times(Instant started, Instant answered, bool is_quiet) {
  if (!former_) {
    watch_.first_answer = answered;
  } else {
    watch_.longest_gap = std::max<Duration>(watch_.longest_gap, answered - *former_);
  }
  former_ = started;
  if (!is_quiet) return;
  if (watch_.idle_started)
    watch_.longest_idle_gap = std::max<Duration>(watch_.longest_idle_gap, answered - *watch_.idle_started);
  watch_.idle_started = started;
}

GateLooks::Next GateLooks::answered(Result<std::optional<NodeFact>> fact, Instant started, Instant answered,
                                    bool is_stopping) {
  last_.started = started;
  last_.fact = std::move(fact);
  const NodeFact* node = last_.fact && *last_.fact ? &**last_.fact : nullptr;
  const bool has_build = node != nullptr && !node->builds.empty();
  const bool is_quiet = node != nullptr && node->is_idle && !has_build;
  const bool is_open = node != nullptr && !node->is_temporarily_offline;
  note_times(started, answered, is_quiet);
  watch_.was_assigned = watch_.was_assigned || (node != nullptr && !is_quiet);
  // Closed before it was ever seen open: the look overtook the opening.
  const bool was_shut_again = was_open_ && !is_open;
  was_open_ = was_open_ || is_open;
  closing_ = has_build && is_open     ? Next::close_busy
             : is_stopping && is_open ? Next::close_leaving
                                      : Next::end;
  const bool is_over = node == nullptr || has_build || was_shut_again || answered >= until_ || is_stopping;
  if (closing_ == Next::end && !is_over) return Next::look;
  last_.watch = watch_;
  return closing_;
}

GateLooks::Next GateLooks::closed(bool is_acknowledged, Instant at, bool is_stopping) {
  const Next tried = std::exchange(closing_, Next::end);
  if (tried != Next::close_busy) return Next::end;
  if (is_acknowledged) {
    watch_.closed = at;
    last_.watch = watch_;
  } else if (is_stopping) {
    closing_ = Next::close_leaving;
  }
  return closing_;
}

std::string_view GateLooks::reason_of(Next next) {
  return next == Next::close_leaving ? leaving_reason : busy_reason;
}

}  // namespace skep::scheduler
