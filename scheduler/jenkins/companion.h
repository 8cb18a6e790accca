// What the companion scripts print, and the queue that follows from it. Pure, no lock: the owner keeps one
// around CompanionBook and CompanionTalk. Wire format and its source: docs/design/companion.md (recordings 16
// and 23).
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

// The files of scheduler/companion.
std::string companion_install_script();
/// Answers when there is an event numbered `from` or later, at the latest after `wait`; at once when no
/// number near `from` was ever given out.
std::string companion_wait_script(std::uint64_t from, Duration wait);
std::string companion_remove_script();

/// What a removal prints.
inline constexpr std::string_view companion_removed = "skep-companion removed";

/// What an installation printed: the queue as it is, to which events from `next` on apply. Both are taken
/// under the lock of Jenkins' queue. Where a Jenkins has no such call, `next` is taken first: events may then
/// be told that the items have in them already, which CompanionBook tolerates.
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

/// The queue by base and events. An item of which only the companion tells is called "item ID", and is in the
/// queue since it was first told of; its label is exact.
class CompanionBook {
 public:
  void begin(CompanionBase base, WallTime now);
  /// The events of nodes, in order; not those of the built-in node, which has no name there. An error
  /// (another boot, a gap, a number that goes backwards, an event that cannot be) changes nothing, and means:
  /// take a new base. Events that were applied already are skipped; one whose effect is in the base already
  /// does no harm: a stage is set again, what has left leaves once more.
  Result<std::vector<NodeNews>> apply(const CompanionNews& news, WallTime now);
  /// Names, paths and times, which the companion does not tell, also of items of which it tells only later.
  /// They do not change which items there are, nor their stage and label.
  void note_read(const QueueSnapshot& read);
  /// Another session of the controller: ids may be used again. To be followed by begin().
  void forget_items();
  std::uint64_t next() const { return next_; }
  QueueSnapshot queue() const;

 private:
  void set_stage(std::int64_t id, ItemStage stage, std::string label, WallTime now);

  std::string boot_;
  std::uint64_t next_ = 1;
  bool is_quieting_down_ = false;
  std::map<std::int64_t, QueueItem> items_;
  std::map<std::int64_t, QueueItem> read_;  // of the last read: who is not in items_ yet may come
};

/// What one question to the companion gave.
struct CompanionAnswer {
  QueueSnapshot queue;          // as it is now
  std::vector<NodeNews> nodes;  // since the answer before
  bool is_base = false;         // what happened before is not known
  std::uint64_t events = 0;     // since the answer before
};

/// Which script is to be run next, and what its answer makes of the book.
class CompanionTalk {
 public:
  bool needs_base() const { return bases_taken_ != bases_wanted_; }
  /// The next question has to be an installation: the answers to those that are asked already do not count
  /// for it.
  void rebase() { ++bases_wanted_; }

  struct Question {
    std::string script;
    std::uint64_t base = 0;  // 0: it only waits; else which one it was asked for
  };
  /// What Question::base would be.
  std::uint64_t base_to_ask_for() const { return needs_base() ? bases_wanted_ : 0; }
  Question next_question(Duration wait) const;
  /// An error (see the parsers and CompanionBook) has the next question be an installation.
  Result<CompanionAnswer> note_answer(const Question& asked, std::string_view text, WallTime now);
  void note_read(const QueueSnapshot& read) { book_.note_read(read); }
  /// The controller was restarted: the companion is gone with everything that it told.
  void forget_session();
  std::uint64_t next() const { return book_.next(); }

 private:
  CompanionBook book_;
  std::uint64_t bases_wanted_ = 1, bases_taken_ = 0;
};

}  // namespace skep::scheduler
