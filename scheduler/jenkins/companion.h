// What the companion scripts print, and the queue that follows from it. Pure, no lock: the owner keeps one
// around CompanionBook. Wire format and its source: docs/design/companion.md (recordings 16 and 23).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "scheduler/core/facts.h"

namespace skep::scheduler {

std::string companion_install_script();
/// Answers when there is an event numbered `from` or later, at the latest after `wait`.
std::string companion_wait_script(std::uint64_t from, Duration wait);
std::string companion_remove_script();

/// What an installation printed: the queue as it is, to which events apply.
struct CompanionBase {
  struct Item {
    std::int64_t id = 0;
    ItemStage stage = ItemStage::waiting;
    std::string label;  // blank: any node
  };
  std::string boot;
  std::uint64_t next = 1;  // number of the next event
  std::vector<Item> items;
  bool is_quieting_down = false;
};

/// What a wait printed.
struct CompanionNews {
  struct Event {
    std::uint64_t number = 0;
    std::string kind;
    std::string rest;
  };
  std::string boot;
  std::uint64_t first = 1, next = 1;  // oldest event that is still kept; the next one
  std::vector<Event> events;
  bool is_quieting_down = false;
};

/// Errors: not_found when the companion is absent; malformed_reply for what is cut, a script's stack trace,
/// another version, or anything that is not wholly understood. Each means: install, and take the base again.
Result<CompanionBase> read_companion_base(std::string_view text);
Result<CompanionNews> read_companion_news(std::string_view text);

/// The queue by base and events.
class CompanionBook {
 public:
  void begin(CompanionBase base, WallTime now);
  /// The events of nodes, in order. An error (another boot, a gap, a number that goes backwards, an event of
  /// an item that cannot be) changes nothing, and means: take a new base.
  Result<std::vector<NodeNews>> apply(const CompanionNews& news, WallTime now);
  /// Names, paths and times, which the companion does not tell. They do not change which items there are.
  void note_read(const QueueSnapshot& read);
  std::uint64_t next() const { return next_; }
  QueueSnapshot queue() const;

 private:
  std::string boot_;
  std::uint64_t next_ = 1;
  bool is_quieting_down_ = false;
  std::map<std::int64_t, QueueItem> items_;
};

}  // namespace skep::scheduler
