#include "scheduler/core/rollout.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/check.h"

namespace skep::scheduler {
namespace {

// Below this a slower start is noise, whatever the factor.
constexpr std::int64_t least_boot_difference_ms = 1000;
constexpr std::size_t least_boot_samples = 3;
constexpr std::size_t longest_version = 40;
constexpr int whole = 100;

constexpr std::array<std::pair<RolloutState, std::string_view>, 5> state_names{{
    {RolloutState::pulling, "pulling"},
    {RolloutState::canary, "canary"},
    {RolloutState::rolling, "rolling"},
    {RolloutState::done, "done"},
    {RolloutState::stopped, "stopped"},
}};

std::string of_starts(int joined, int ended) {
  return std::to_string(joined) + " of " + std::to_string(ended) + " starts joined";
}

std::string seconds_text(std::int64_t ms) {
  return std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + " s";
}

// Per hundred, of the old version: what nobody saw fail is taken for good.
std::int64_t old_join_rate(const VersionFigures& old, const RolloutPolicy& policy) {
  if (old.ended() < std::min(policy.canary_starts, 3)) return whole;
  return std::int64_t{old.joined} * whole / old.ended();
}

std::optional<Verdict> joins_worse(const Rollout& rollout, const RolloutPolicy& policy) {
  const VersionFigures &old = rollout.old_figures, &made = rollout.new_figures;
  const std::int64_t least = old_join_rate(old, policy) - policy.worse_join_rate;
  // If all starts that are still to come joined.
  const std::int64_t starts = std::max(policy.canary_starts, made.ended());
  const std::int64_t best = (starts - made.failed) * whole / starts;
  if (best >= least) return std::nullopt;
  const std::string before = old.ended() == 0 ? "nothing was seen of the one before meanwhile"
                                              : "of the one before " + of_starts(old.joined, old.ended());
  return Verdict{true, "version " + rollout.to + " joins worse: " + of_starts(made.joined, made.ended()) +
                           ", " + before};
}

std::optional<Verdict> boots_worse(const Rollout& rollout, const RolloutPolicy& policy) {
  const VersionFigures &old = rollout.old_figures, &made = rollout.new_figures;
  // Half of a canary's starts: some fail, and of those of an earlier leader the time is not known.
  const std::size_t half = static_cast<std::size_t>(policy.canary_starts) / 2;
  const std::size_t needed = std::min(most_boot_samples, std::max(half, least_boot_samples));
  if (made.boot_ms.size() < needed || old.boot_ms.size() < least_boot_samples) return std::nullopt;
  const std::int64_t before = median_boot_ms(old), now = median_boot_ms(made);
  const bool is_slower = now * whole > before * policy.worse_boot_percent;
  if (!is_slower || now - before < least_boot_difference_ms) return std::nullopt;
  return Verdict{true, "version " + rollout.to + " starts slower: " + seconds_text(now) +
                           " from order to joined (median of " + std::to_string(made.boot_ms.size()) +
                           "), the one before " + seconds_text(before)};
}

std::optional<Verdict> loses_builds(const Rollout& rollout, const RolloutPolicy& policy) {
  const VersionFigures &old = rollout.old_figures, &made = rollout.new_figures;
  if (made.builds < policy.canary_starts) return std::nullopt;
  const std::int64_t rate = std::int64_t{made.lost_builds} * whole / made.builds;
  const std::int64_t before = old.builds == 0 ? 0 : std::int64_t{old.lost_builds} * whole / old.builds;
  if (rate <= before + policy.worse_build_rate) return std::nullopt;
  return Verdict{true, "version " + rollout.to + " loses builds: " + std::to_string(made.lost_builds) +
                           " of " + std::to_string(made.builds) +
                           " were lost with their executor, of the one before " +
                           std::to_string(old.lost_builds) + " of " + std::to_string(old.builds)};
}

Error refused(const std::string& why, const std::string& hint) {
  return Error::failed(ErrorCode::conflict, why, hint);
}

}  // namespace

std::string_view to_string(RolloutState state) {
  for (const auto& [each, name] : state_names) {
    if (each == state) return name;
  }
  return "stopped";
}

std::optional<RolloutState> rollout_state_from(std::string_view text) {
  for (const auto& [each, name] : state_names) {
    if (name == text) return each;
  }
  return std::nullopt;
}

void VersionFigures::note_joined(std::optional<std::int64_t> order_to_joined_ms) {
  ++joined;
  if (!order_to_joined_ms) return;
  if (boot_ms.size() >= most_boot_samples) boot_ms.erase(boot_ms.begin());
  boot_ms.push_back(*order_to_joined_ms);
}

void VersionFigures::note_build(bool is_lost) {
  ++builds;
  lost_builds += is_lost ? 1 : 0;
}

std::int64_t median_boot_ms(const VersionFigures& figures) {
  if (figures.boot_ms.empty()) return 0;
  std::vector<std::int64_t> sorted = figures.boot_ms;
  std::sort(sorted.begin(), sorted.end());
  return sorted[(sorted.size() - 1) / 2];
}

bool is_rollable(std::string_view image) {
  return !image.empty() && image.find('@') == std::string_view::npos;
}

bool is_image_version(std::string_view text) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= longest_version && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), is_plain);
}

std::string image_reference(const std::string& name, const std::string& version) {
  return version.empty() ? name : name + "@" + version;
}

std::string version_in_words(const std::string& version) {
  return version.empty() ? "the host's own choice" : "version " + version;
}

bool is_under_way(const ImageVersions& image) {
  return image.rollout && image.rollout->state != RolloutState::done &&
         image.rollout->state != RolloutState::stopped;
}

std::vector<std::string> decide_references(const ImageVersions& image, bool is_affordable) {
  const std::string old = image_reference(image.name, image.current);
  if (!is_under_way(image) || image.rollout->state == RolloutState::pulling) return {old};
  const std::string made = image_reference(image.name, image.rollout->to);
  const bool is_turn =
      image.rollout->state == RolloutState::rolling || image.rollout->credit + image.rollout->share >= whole;
  if (is_turn && is_affordable) return {made, old};
  return {old};
}

std::optional<std::string> replacing_reference(const ImageVersions& image) {
  if (!is_under_way(image)) return image_reference(image.name, image.current);
  if (image.rollout->state == RolloutState::pulling) return std::nullopt;
  if (image.rollout->state == RolloutState::canary) {
    // One start without demand; the others come with it.
    const Rollout& rollout = *image.rollout;
    const bool is_first = rollout.new_figures.ended() == 0 && rollout.credit + rollout.share >= whole;
    if (!is_first) return std::nullopt;
  }
  return image_reference(image.name, image.rollout->to);
}

std::vector<std::string> pulled_references(const ImageVersions& image) {
  std::vector<std::string> references;
  if (is_under_way(image)) references.push_back(image_reference(image.name, image.rollout->to));
  if (!image.current.empty()) references.push_back(image_reference(image.name, image.current));
  return references;
}

bool is_trial_affordable(const ImageVersions& image, int coming, const RolloutPolicy& policy) {
  if (!is_under_way(image)) return true;
  const Rollout& rollout = *image.rollout;
  const VersionFigures& made = rollout.new_figures;
  if (rollout.state == RolloutState::canary) {
    // A good one that is held goes on at its share.
    return rollout.is_good || made.ended() + coming < policy.canary_starts;
  }
  return made.joined >= policy.canary_starts || made.failed + coming < policy.canary_starts;
}

bool note_launch(ImageVersions& image, const std::string& reference) {
  if (!is_under_way(image) || image.rollout->state != RolloutState::canary) return false;
  Rollout& rollout = *image.rollout;
  rollout.credit += rollout.share;
  if (reference == image_reference(image.name, rollout.to)) rollout.credit -= whole;
  rollout.credit = std::min(rollout.credit, whole);  // turns that could not be taken are not saved up
  return true;
}

std::optional<Verdict> decide_verdict(const Rollout& rollout, const RolloutPolicy& policy) {
  for (const auto compare : {joins_worse, boots_worse, loses_builds}) {
    if (auto verdict = compare(rollout, policy)) return verdict;
  }
  const VersionFigures& made = rollout.new_figures;
  if (made.ended() < policy.canary_starts) return std::nullopt;
  return Verdict{false, of_starts(made.joined, made.ended())};
}

Result<ImageVersions> decide_rollout(const ImageVersions& image, const RolloutOrder& order,
                                     const RolloutPolicy& policy, WallTime wall) {
  if (!is_image_version(order.version))
    return Error::failed(
        ErrorCode::invalid_input, "\"" + order.version + "\" is no version of an image",
        "letters, digits and . _ -, at most 40; skep images list shows those that hosts know");
  if (order.share && (*order.share < 1 || *order.share > whole))
    return Error::failed(ErrorCode::invalid_input, "a share of " + std::to_string(*order.share) + " %",
                         "from 1 to 100");
  ImageVersions next = image;
  const std::string back = "skep images rollback " + image.name;
  if (is_under_way(image)) {
    const Rollout& rollout = *image.rollout;
    if (rollout.to != order.version)
      return refused("image " + image.name + " is being rolled out to version " + rollout.to + " already",
                     "let it end (skep images rollouts), or take it back first: " + back);
    if (!order.is_now)
      return refused("image " + image.name + " is being rolled out to version " + rollout.to + " already (" +
                         std::string(to_string(rollout.state)) + ")",
                     "--now ends its canary; " + back + " takes it back");
    if (rollout.state == RolloutState::rolling)
      return refused(
          "image " + image.name + " is rolling out to version " + rollout.to + " everywhere already",
          "skep images rollouts shows how far it is");
    next.rollout->share = whole;
    next.rollout->is_held = next.rollout->is_good = false;
    if (rollout.state == RolloutState::canary) next.rollout->state = RolloutState::rolling;
    next.rollout->changed_at = wall;
    return next;
  }
  if (image.current == order.version)
    return refused("image " + image.name + " is at version " + order.version + " already",
                   "skep images rollouts shows it");
  Rollout rollout;
  rollout.to = order.version;
  const int share = order.share.value_or(policy.canary_share);
  rollout.share = order.is_now || share == 0 ? whole : share;
  rollout.is_held = order.holds;
  rollout.credit = whole - rollout.share;  // the first launch tells something at once
  rollout.started_at = rollout.changed_at = wall;
  next.rollout = std::move(rollout);
  return next;
}

Result<ImageVersions> decide_rollback(const ImageVersions& image, WallTime wall) {
  ImageVersions next = image;
  if (is_under_way(image)) {
    next.rollout->state = RolloutState::stopped;
    next.rollout->reason = "an operator rolled it back";
    next.rollout->changed_at = wall;
    return next;
  }
  if (!image.previous)
    return refused("image " + image.name + " has no version to go back to: " +
                       (image.rollout ? "its rollout to version " + image.rollout->to + " stopped already"
                                      : "none was rolled out"),
                   "skep images rollout " + image.name + " VERSION brings another one in");
  next.previous = image.current;
  next.current = *image.previous;
  if (next.rollout) {
    next.rollout->state = RolloutState::stopped;
    next.rollout->reason = "an operator rolled it back to " + version_in_words(next.current);
    next.rollout->changed_at = wall;
  }
  return next;
}

std::string rollout_in_words(const ImageVersions& image, const RolloutPolicy& policy) {
  std::string at = "image " + image.name + " is at " + version_in_words(image.current);
  if (!image.rollout) return at;
  const Rollout& rollout = *image.rollout;
  const std::string to = "version " + rollout.to;
  switch (rollout.state) {
    case RolloutState::pulling:
      return at + "; hosts are asked to fetch " + to;
    case RolloutState::canary: {
      const std::string share = std::to_string(rollout.share) + " % of launches try " + to;
      if (rollout.is_good)
        return at + "; " + share + ", which is good so far (" +
               of_starts(rollout.new_figures.joined, rollout.new_figures.ended()) +
               ") and held: skep images rollout " + image.name + " " + rollout.to + " --now goes on";
      return at + "; " + share + " (" + of_starts(rollout.new_figures.joined, rollout.new_figures.ended()) +
             ", " + std::to_string(policy.canary_starts) + " are needed)";
    }
    case RolloutState::rolling:
      return at + "; " + to + " replaces it wherever it is ready (" +
             of_starts(rollout.new_figures.joined, rollout.new_figures.ended()) + ", " +
             std::to_string(policy.canary_starts) + " are needed)";
    case RolloutState::done:
      return at + (rollout.reason.empty() ? "" : "; " + rollout.reason);
    case RolloutState::stopped:
      return at + "; the rollout to " + to + " stopped: " + rollout.reason;
  }
  return at;
}

}  // namespace skep::scheduler
