// The watch of an open gate as a decision: what a look at the node means, when its gate is closed, when the
// watch is over, and what it tells in the end. Who looks, waits between two looks and carries out the closing
// is the caller's:
//
//   GateLooks looks(order, now);
//   GateLooks::Next next;
//   do {  // wait for order.pace, look
//     next = looks.answered(fact, started, answered, is_stopping);
//   } while (next == GateLooks::Next::look);
//   while (next != GateLooks::Next::end) next = looks.closed(/* close it, with reason_of(next) */ ...);
//   return looks.result();
//
// Pure; not thread-safe.
#pragma once

#include <optional>
#include <string_view>

#include "scheduler/core/actions.h"

namespace skep::scheduler {

class GateLooks {
 public:
  enum class Next {
    look,           // once more, after the order's pace
    close_busy,     // a build was seen behind an open gate
    close_leaving,  // nobody will look any more
    end,
  };

  /// The watch begins at `now`; it is over `watch_for` later, at the first answer from then on.
  GateLooks(PollNode order, Instant now);

  /// One look, begun and answered at these times. `is_stopping`: its scheduler ends.
  Next answered(Result<std::optional<NodeFact>> fact, Instant started, Instant answered, bool is_stopping);
  /// What became of the closing that was asked for; `at`: when its answer came. Never says `look`.
  Next closed(bool is_acknowledged, Instant at, bool is_stopping);

  /// With the last look; to be called at the end, after at least one look.
  NodePolled result() const { return last_; }

  /// Why the node is set offline, for the two that close.
  static std::string_view reason_of(Next next);

 private:
  void note_times(Instant started, Instant answered, bool is_quiet);

  Instant until_;
  NodePolled last_;
  GateWatch watch_;
  std::optional<Instant> former_;  // start of the look before
  bool was_open_ = false;
  Next closing_ = Next::end;
};

/// Why a gate is closed when its scheduler ends.
inline constexpr std::string_view leaving_reason = "skep: its scheduler ends";

}  // namespace skep::scheduler
