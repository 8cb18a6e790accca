// Which version of an image executors are made from, and how a new one is brought in: one record per image
// name, what commands make of it, which version the next launch gets, and when a new one is worse
// (docs/design/rollouts.md). Pure: no clock, no randomness; same input, same output.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "scheduler/core/config.h"

namespace skep::scheduler {

enum class RolloutState { pulling, canary, rolling, done, stopped };
std::string_view to_string(RolloutState state);
std::optional<RolloutState> rollout_state_from(std::string_view text);

/// What was seen of one version since a rollout began. Counts of starts that ended, and of builds that did.
struct VersionFigures {
  int joined = 0;
  int failed = 0;
  int builds = 0;
  int lost_builds = 0;  // of `builds`: node or sandbox were gone before the build's end was seen
  std::vector<std::int64_t> boot_ms;  // order to joined; the last most_boot_samples

  int ended() const { return joined + failed; }
  void note_joined(std::optional<std::int64_t> order_to_joined_ms);
  void note_build(bool is_lost);
  friend bool operator==(const VersionFigures&, const VersionFigures&) = default;
};
inline constexpr std::size_t most_boot_samples = 50;
/// 0 without samples; of an even number the lower one of the two in the middle.
std::int64_t median_boot_ms(const VersionFigures& figures);

struct Rollout {
  std::string to;        // version
  int share = 100;       // percent of launches while it is a canary; 100: it is none
  bool is_held = false;  // a good canary waits for an operator
  bool is_good = false;  // it was judged so, and is held
  RolloutState state = RolloutState::pulling;
  std::string reason;  // why it stopped, or what is to be known of its end
  int credit = 0;      // of the new version, in percent of a launch: at 100 it is its turn
  WallTime started_at, changed_at;
  VersionFigures old_figures, new_figures;
  friend bool operator==(const Rollout&, const Rollout&) = default;
};

/// Durable. `current` empty: the host's own choice, which launch orders name by the bare name.
struct ImageVersions {
  std::string name;
  std::string current;
  std::optional<std::string> previous;  // before the last one that was done; may be empty as `current`
  std::optional<Rollout> rollout;       // the last one
  friend bool operator==(const ImageVersions&, const ImageVersions&) = default;
};

/// Templates name it without a version, so that it can be rolled out.
bool is_rollable(std::string_view image);
/// As agentd's catalogue takes it: letters, digits, '.', '_', '-', at most 40.
bool is_image_version(std::string_view text);
/// What a launch order names: `name`, or `name@version`.
std::string image_reference(const std::string& name, const std::string& version);
/// "version 2", or "the host's own choice".
std::string version_in_words(const std::string& version);

/// Under way: neither done nor stopped.
bool is_under_way(const ImageVersions& image);
/// References that a launch may name, the wanted one first. `is_trial_affordable`: one more start of the new
/// version may be risked.
std::vector<std::string> decide_references(const ImageVersions& image, bool is_trial_affordable);
/// The one that idle executors should have; nullopt: leave them alone.
std::optional<std::string> replacing_reference(const ImageVersions& image);
/// What hosts are asked to fetch: what launches may name by a version, the wanted one first.
std::vector<std::string> pulled_references(const ImageVersions& image);
/// Starts of the new version that may be unproven at once: those under way and those that failed.
bool is_trial_affordable(const ImageVersions& image, int coming, const RolloutPolicy& policy);
/// A launch of this reference was decided: whose turn is next. False: the record is as before.
bool note_launch(ImageVersions& image, const std::string& reference);

struct Verdict {
  bool is_worse = false;
  std::string reason;  // with numbers
};
/// nullopt: too few starts to tell. Worse is said as soon as no further start could change it.
std::optional<Verdict> decide_verdict(const Rollout& rollout, const RolloutPolicy& policy);

/// An operator's command.
struct RolloutOrder {
  std::string image;
  std::string version;
  std::optional<int> share;  // nullopt: the policy's
  bool holds = false;        // a good canary waits
  bool is_now = false;       // no canary; of a canary that is under way: it goes on
};
/// The record after it; or why it is refused, and what to do instead (conflict, invalid_input).
Result<ImageVersions> decide_rollout(const ImageVersions& image, const RolloutOrder& order,
                                     const RolloutPolicy& policy, WallTime wall);
Result<ImageVersions> decide_rollback(const ImageVersions& image, WallTime wall);

/// One sentence for people: what is going on with this image.
std::string rollout_in_words(const ImageVersions& image, const RolloutPolicy& policy);

}  // namespace skep::scheduler
