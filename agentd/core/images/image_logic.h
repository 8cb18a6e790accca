// ImageLogic: what a host does with its images. Facts in, actions out; one thread; no clock, file or socket.
//
//   absent -> fetching -> ready <-> verifying        a fetch that fails: waiting -> fetching
//   ready -> removing -> absent                      to make room
//   verifying -> broken -> removing -> absent        its content is not what it was; fetched again
//
// Promises, which tests/unit/agentd/image_logic_test.cpp holds against random runs: a copy that somebody
// holds, or that is being fetched, is never removed; a wanted one is removed to make room only when no
// unwanted one can be; one that is fetched by itself never is; what is on disk and reserved stays within
// max_bytes unless holds or a smaller limit prevent it; only a copy that was whole and is not known to be
// broken may be held.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "agentd/core/actions.h"
#include "agentd/core/images/catalogue.h"
#include "core/ids.h"
#include "core/prng.h"
#include "core/result.h"
#include "core/time.h"

namespace skep::agentd::images {

enum class CopyState { absent, waiting, fetching, ready, verifying, broken, removing };
std::string_view to_string(CopyState state);

/// A whole copy, as the disk shows it.
struct CopyFound {
  std::string copy;  // its name
  std::string name, version;
  std::uint64_t bytes = 0;
  bool is_broken = false;
  WallTime used_at, verified_at;  // 0: not known
};

// Events.
struct StoreRead {  // first, once
  std::vector<CopyFound> copies;
  std::map<ExecutorId, std::string> holds;
};
struct PullAsked {
  std::string copy;
};
struct VerifyAsked {
  std::string copy;
};
struct FetchProgressed {
  std::string copy;
  std::uint64_t done_bytes = 0;      // of the files, resumed ones included
  std::uint64_t received_bytes = 0;  // over the network since the last event
};
struct FetchEnded {
  std::string copy;
  Result<std::uint64_t> bytes;   // on disk
  std::uint64_t part_bytes = 0;  // kept for a later try
};
struct VerifyEnded {
  std::string copy;
  Result<void> result;  // Outcome::failed: it is broken
};
struct RemoveEnded {
  std::string copy;
  Result<void> result;
};
struct HoldMade {
  std::string copy;
  ExecutorId executor;
};
struct HoldReleased {
  ExecutorId executor;
};
struct ImageTick {};
using ImageEvent = std::variant<StoreRead, PullAsked, VerifyAsked, FetchProgressed, FetchEnded, VerifyEnded,
                                RemoveEnded, HoldMade, HoldReleased, ImageTick>;

// Actions; each of the first three is answered by its ...Ended.
struct FetchCopy {
  CatalogueEntry entry;
};
struct VerifyCopy {
  std::string copy;
};
struct RemoveCopy {
  std::string copy;
};
/// What may be started became another.
struct TellChange {};
using ImageAction = std::variant<FetchCopy, VerifyCopy, RemoveCopy, TellChange, Explain>;

struct ImageCounters {
  std::uint64_t fetched_bytes = 0, fetches = 0, fetch_failures = 0, verifications = 0, verify_failures = 0,
                evictions = 0;
};

/// One image for people and programs: of the catalogue, or an unwanted copy.
struct ImageStatus {
  std::string name, version, channel, format, copy, digest;
  CopyState state = CopyState::absent;
  bool is_wanted = true;
  std::uint64_t bytes = 0;       // on disk, parts included
  std::uint64_t done_bytes = 0;  // of a fetch
  std::uint64_t total_bytes = 0;
  std::vector<std::string> references;  // empty while it cannot be started
  std::vector<ExecutorId> holders;
  std::string problem, hint;  // of the last try
  int attempts = 0;           // failed ones in a row
  std::optional<Duration> retry_in;
  WallTime used_at, verified_at;
};

struct ImagePatience {
  Duration retry_first = seconds(5);      // doubles, up to a quarter longer by chance
  Duration retry_last = minutes(10);      // what will not get better by itself begins with that
  Duration hopeless_last = hours(6);      // and doubles up to this
  Duration progress_every = seconds(30);  // between two lines of the log
};

class ImageLogic {
 public:
  /// Every entry of the catalogue has its digest.
  ImageLogic(ImagesConfig config, std::uint64_t seed, ImagePatience patience = {});
  ImageLogic(const ImageLogic&) = delete;
  ImageLogic& operator=(const ImageLogic&) = delete;

  /// `now` never decreases; `wall` is for what is shown and kept.
  std::vector<ImageAction> handle(const ImageEvent& event, Instant now, WallTime wall);
  std::optional<Instant> next_deadline() const;

  /// The copy that an executor may be made from: the caller makes the hold durable, then tells HoldMade.
  /// not_found: no such image; unsupported: another format; try_again/unavailable: not ready, and why.
  Result<std::string> decide_hold(std::string_view reference, Format format) const;
  std::vector<std::string> ready(Format format) const;
  std::vector<ImageStatus> status(Instant now) const;
  const std::vector<CatalogueEntry>& catalogue() const { return config_.catalogue; }
  const std::map<ExecutorId, std::string>& holds() const { return holds_; }
  /// False: what the host has is not known yet.
  bool is_read() const { return is_read_; }
  const ImageCounters& counters() const { return counters_; }
  /// On disk, and reserved by fetches.
  std::uint64_t used_bytes() const;
  std::uint64_t max_bytes() const { return config_.max_bytes; }

 private:
  struct Copy {
    const CatalogueEntry* entry = nullptr;  // of config_; nullptr: unwanted
    std::string name, version;
    CopyState state = CopyState::absent;
    std::uint64_t bytes = 0;  // whole, or parts
    std::uint64_t done_bytes = 0;
    std::set<ExecutorId> holders;
    std::optional<Error> problem;
    int attempts = 0;
    bool is_pull_asked = false, is_verify_asked = false;
    bool lacks_room = false;  // waiting for nothing else
    Instant retry_at, verify_at, told_at;
    std::uint64_t told_bytes = 0;
    WallTime used_at, verified_at;
  };

  void on(const StoreRead& event);
  void on(const PullAsked& event);
  void on(const VerifyAsked& event);
  void on(const FetchProgressed& event);
  void on(const FetchEnded& event);
  void on(const VerifyEnded& event);
  void on(const RemoveEnded& event);
  void on(const HoldMade& event);
  void on(const HoldReleased& event);
  void on(const ImageTick& event);

  void advance();
  void start_removals();
  void start_verification();
  void start_fetches();
  /// False: it does not fit yet; copies may be on their way out for it.
  bool make_room(Copy& wanted);
  std::vector<std::string> evictable() const;
  /// Something became free: who waits for room looks again.
  void look_for_room();
  void remove(const std::string& name, Copy& copy);
  void fail(Copy& copy, const Error& error);
  bool is_due(const Copy& copy) const;
  bool can_start(const Copy& copy) const;
  bool is_verifying() const;
  void explain(Level level, const std::string& text, const Copy& copy);
  Copy* copy_of(const std::string& name);

  ImagesConfig config_;
  ImagePatience patience_;
  Prng prng_;
  std::map<std::string, Copy> copies_;
  std::map<ExecutorId, std::string> holds_;
  ImageCounters counters_;
  std::vector<std::string> shown_ready_;
  bool is_read_ = false;
  Instant now_;
  WallTime wall_;
  std::vector<ImageAction> out_;
};

}  // namespace skep::agentd::images
