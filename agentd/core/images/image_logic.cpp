#include "agentd/core/images/image_logic.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/nearest_name.h"
#include "core/resources.h"

namespace skep::agentd::images {
namespace {

constexpr Duration room_retry = seconds(60);  // a hold that ends, or a removal, makes it look at once
constexpr Duration disk_retry = minutes(1);

std::string bytes_text(std::uint64_t bytes) {
  return bytes_to_text(static_cast<std::int64_t>(bytes));
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return std::to_string(whole == 0 ? 0 : part * 100 / whole) + " %";
}

}  // namespace

std::string_view to_string(CopyState state) {
  constexpr std::array<std::string_view, 7> names{"absent",    "waiting", "fetching", "ready",
                                                  "verifying", "broken",  "removing"};
  return names[static_cast<std::size_t>(state)];
}

ImageLogic::ImageLogic(ImagesConfig config, std::uint64_t seed, ImagePatience patience)
    : config_(std::move(config)), patience_(patience), prng_(seed) {
  for (const CatalogueEntry& entry : config_.catalogue) {
    SKEP_ASSERT(!entry.digest.empty());
    Copy& copy = copies_[copy_name(entry)];
    copy.entry = &entry;
    copy.name = entry.name;
    copy.version = entry.version;
  }
}

std::vector<ImageAction> ImageLogic::handle(const ImageEvent& event, Instant now, WallTime wall) {
  now_ = now;
  wall_ = wall;
  out_.clear();
  std::visit([this](const auto& e) { on(e); }, event);
  if (is_read_) advance();
  std::vector<std::string> shown;
  for (const Format format : all_formats) {
    const std::vector<std::string> names = ready(format);
    shown.insert(shown.end(), names.begin(), names.end());
  }
  if (shown != shown_ready_) {
    shown_ready_ = std::move(shown);
    out_.emplace_back(TellChange{});
  }
  return std::exchange(out_, {});
}

std::optional<Instant> ImageLogic::next_deadline() const {
  std::optional<Instant> earliest;
  const auto consider = [&earliest](Instant when) {
    if (!earliest || when < *earliest) earliest = when;
  };
  if (!is_read_) return earliest;
  for (const auto& [name, copy] : copies_) {
    if (copy.state == CopyState::waiting) consider(copy.retry_at);
    if (copy.state == CopyState::broken && copy.holders.empty()) consider(copy.retry_at);
    if (copy.state == CopyState::ready && copy.entry != nullptr && config_.verify_every > Duration::zero() &&
        !is_verifying())
      consider(copy.verify_at);
  }
  return earliest;
}

bool ImageLogic::is_verifying() const {
  return std::any_of(copies_.begin(), copies_.end(),
                     [](const auto& each) { return each.second.state == CopyState::verifying; });
}

void ImageLogic::on(const StoreRead& event) {
  is_read_ = true;
  for (const CopyFound& found : event.copies) {
    Copy& copy = copies_[found.copy];
    copy.name = found.name;
    copy.version = found.version;
    copy.bytes = found.bytes;
    copy.state = found.is_broken ? CopyState::broken : CopyState::ready;
    copy.used_at = found.used_at;
    copy.verified_at = found.verified_at;
    const auto age =
        milliseconds(std::max<std::int64_t>(0, wall_.ms_since_epoch - found.verified_at.ms_since_epoch));
    const Duration left = age < config_.verify_every ? config_.verify_every - age : Duration::zero();
    copy.verify_at = now_ + left;
    copy.retry_at = now_;
    copy.is_pull_asked = found.is_broken && copy.entry != nullptr;
    if (found.is_broken)
      copy.problem = Error::failed(ErrorCode::malformed_reply, "its content was found to be changed");
  }
  for (const auto& [executor, name] : event.holds) {
    holds_[executor] = name;
    if (Copy* copy = copy_of(name)) copy->holders.insert(executor);
  }
}

void ImageLogic::on(const PullAsked& event) {
  Copy* copy = copy_of(event.copy);
  if (copy == nullptr || copy->entry == nullptr) return;
  if (copy->state != CopyState::absent && copy->state != CopyState::waiting &&
      copy->state != CopyState::broken)
    return;
  copy->is_pull_asked = true;
  copy->attempts = 0;
  copy->retry_at = now_;
}

void ImageLogic::on(const VerifyAsked& event) {
  if (Copy* copy = copy_of(event.copy)) copy->is_verify_asked = can_start(*copy);
}

void ImageLogic::on(const FetchProgressed& event) {
  counters_.fetched_bytes += event.received_bytes;
  Copy* copy = copy_of(event.copy);
  if (copy == nullptr || copy->state != CopyState::fetching) return;
  copy->done_bytes = event.done_bytes;
  if (now_ - copy->told_at < patience_.progress_every) return;
  const std::uint64_t total = bytes_of(*copy->entry);
  const std::int64_t ms = std::max<std::int64_t>(1, to_ms(now_ - copy->told_at));
  const std::uint64_t gained = event.done_bytes - std::min(event.done_bytes, copy->told_bytes);
  explain(Level::info,
          "fetching: " + percent(event.done_bytes, total) + " of " + bytes_text(total) + ", " +
              bytes_text(gained * 1000 / static_cast<std::uint64_t>(ms)) + " a second",
          *copy);
  copy->told_at = now_;
  copy->told_bytes = event.done_bytes;
}

void ImageLogic::on(const FetchEnded& event) {
  Copy* copy = copy_of(event.copy);
  SKEP_ASSERT(copy != nullptr && copy->state == CopyState::fetching);
  look_for_room();
  ++counters_.fetches;
  if (!event.bytes) {
    ++counters_.fetch_failures;
    copy->bytes = event.part_bytes;
    copy->done_bytes = event.part_bytes;
    return fail(*copy, event.bytes.error());
  }
  copy->state = CopyState::ready;
  copy->bytes = *event.bytes;
  copy->done_bytes = bytes_of(*copy->entry);
  copy->problem.reset();
  copy->attempts = 0;
  copy->is_pull_asked = false;
  copy->used_at = copy->verified_at = wall_;
  copy->verify_at = now_ + config_.verify_every;
  explain(Level::info, "fetched and verified: " + bytes_text(copy->bytes), *copy);
}

void ImageLogic::fail(Copy& copy, const Error& error) {
  copy.state = CopyState::waiting;
  copy.lacks_room = false;
  copy.problem = error;
  ++copy.attempts;
  const bool is_hopeful = error.outcome != Outcome::failed;
  Duration pause = is_hopeful ? patience_.retry_first : patience_.retry_last;
  const Duration longest = is_hopeful ? patience_.retry_last : patience_.hopeless_last;
  for (int i = 1; i < copy.attempts && pause < longest; ++i) pause *= 2;
  pause = std::min(pause, longest);
  pause +=
      Duration(static_cast<Duration::rep>(prng_.below(1 + static_cast<std::uint64_t>(pause.count() / 4))));
  copy.retry_at = now_ + pause;
  explain(Level::warning,
          "not fetched: " + error.message + "; it is tried again in " +
              duration_to_text(seconds(to_ms(pause) / 1000)),
          copy);
}

void ImageLogic::on(const VerifyEnded& event) {
  Copy* copy = copy_of(event.copy);
  SKEP_ASSERT(copy != nullptr && copy->state == CopyState::verifying);
  ++counters_.verifications;
  copy->state = CopyState::ready;
  copy->verify_at = now_ + std::max<Duration>(config_.verify_every, disk_retry);
  if (event.result) {
    copy->verified_at = wall_;
    copy->problem.reset();
    explain(Level::info, "verified", *copy);
    // The half of it that a driver keeps, in its engine, is looked at as well.
    if (copy->entry != nullptr && copy->entry->format == Format::container) out_.emplace_back(TellChange{});
    return;
  }
  ++counters_.verify_failures;
  copy->problem = event.result.error();
  if (event.result.error().outcome != Outcome::failed) {
    copy->verify_at = now_ + disk_retry;
    return explain(Level::warning,
                   "could not be verified: " + event.result.error().message + "; it is tried again", *copy);
  }
  copy->state = CopyState::broken;
  copy->is_pull_asked = copy->entry != nullptr;  // also when it is fetched on demand
  copy->retry_at = now_;
  const std::string next = copy->holders.empty()
                               ? "it is fetched again"
                               : "nothing is started from it, and it is fetched again when " +
                                     std::to_string(copy->holders.size()) +
                                     " executors that were made from it are gone";
  explain(Level::error, "changed on this host: " + event.result.error().message + "; " + next, *copy);
}

void ImageLogic::on(const RemoveEnded& event) {
  Copy* copy = copy_of(event.copy);
  SKEP_ASSERT(copy != nullptr && copy->state == CopyState::removing);
  look_for_room();
  if (!event.result) {
    copy->state = CopyState::broken;  // half of it may be gone
    copy->problem = event.result.error();
    copy->retry_at = now_ + disk_retry;
    return explain(Level::warning, "not removed: " + event.result.error().message + "; it is tried again",
                   *copy);
  }
  if (copy->entry == nullptr) {
    copies_.erase(event.copy);
    return;
  }
  copy->state = CopyState::absent;
  copy->bytes = copy->done_bytes = 0;
  copy->used_at = copy->verified_at = {};
}

void ImageLogic::on(const HoldMade& event) {
  holds_[event.executor] = event.copy;
  Copy* copy = copy_of(event.copy);
  if (copy == nullptr) return;
  copy->holders.insert(event.executor);
  copy->used_at = wall_;
}

void ImageLogic::on(const HoldReleased& event) {
  const auto found = holds_.find(event.executor);
  if (found == holds_.end()) return;
  if (Copy* copy = copy_of(found->second)) {
    copy->holders.erase(event.executor);
    copy->used_at = wall_;
  }
  holds_.erase(found);
  look_for_room();
}

void ImageLogic::look_for_room() {
  for (auto& [name, copy] : copies_) {
    if (copy.state == CopyState::waiting && copy.lacks_room) copy.retry_at = now_;
  }
}

void ImageLogic::on(const ImageTick&) {}

void ImageLogic::advance() {
  start_removals();
  start_verification();
  start_fetches();
}

void ImageLogic::start_removals() {
  for (auto& [name, copy] : copies_) {
    if (copy.state == CopyState::broken && copy.holders.empty() && copy.retry_at <= now_) remove(name, copy);
  }
  // A limit that became smaller.
  std::uint64_t used = used_bytes();
  for (const auto& [name, copy] : copies_) {
    if (copy.state == CopyState::removing) used -= copy.bytes;
  }
  for (const std::string& name : evictable()) {
    if (used <= config_.max_bytes) return;
    Copy& copy = copies_.at(name);
    used -= copy.bytes;
    ++counters_.evictions;
    remove(name, copy);
  }
}

void ImageLogic::remove(const std::string& name, Copy& copy) {
  SKEP_ASSERT(copy.holders.empty());
  explain(Level::info, copy.state == CopyState::broken ? "removed: it is broken" : "removed, to make room",
          copy);
  copy.state = CopyState::removing;
  out_.emplace_back(RemoveCopy{name});
}

void ImageLogic::start_verification() {
  if (is_verifying()) return;  // one at a time: it reads a whole disk
  std::string chosen;
  for (auto& [name, copy] : copies_) {
    if (copy.state != CopyState::ready || copy.entry == nullptr) continue;
    const bool is_due = config_.verify_every > Duration::zero() && copy.verify_at <= now_;
    if (copy.is_verify_asked || (is_due && chosen.empty())) chosen = name;
    if (copy.is_verify_asked) break;
  }
  if (chosen.empty()) return;
  Copy& copy = copies_.at(chosen);
  copy.is_verify_asked = false;
  copy.state = CopyState::verifying;
  out_.emplace_back(VerifyCopy{chosen});
}

bool ImageLogic::is_due(const Copy& copy) const {
  if (copy.entry == nullptr || !(copy.entry->is_prefetched || copy.is_pull_asked)) return false;
  return copy.state == CopyState::absent || (copy.state == CopyState::waiting && copy.retry_at <= now_);
}

void ImageLogic::start_fetches() {
  auto under_way = std::count_if(copies_.begin(), copies_.end(),
                                 [](const auto& each) { return each.second.state == CopyState::fetching; });
  // What an operator waits for first, then the order of the configuration.
  std::vector<Copy*> due;
  for (const bool is_asked : {true, false}) {
    for (const CatalogueEntry& entry : config_.catalogue) {
      Copy& copy = copies_.at(copy_name(entry));
      if (copy.is_pull_asked == is_asked && is_due(copy)) due.push_back(&copy);
    }
  }
  for (Copy* copy : due) {
    if (under_way >= config_.fetch.parallel) return;
    copy->lacks_room = !make_room(*copy);
    if (copy->lacks_room) continue;
    copy->state = CopyState::fetching;
    copy->done_bytes = 0;
    copy->told_at = now_;
    copy->told_bytes = 0;
    ++under_way;
    explain(Level::info, "fetching " + bytes_text(bytes_of(*copy->entry)) + " from " + copy->entry->url,
            *copy);
    out_.emplace_back(FetchCopy{*copy->entry});
  }
}

std::uint64_t ImageLogic::used_bytes() const {
  std::uint64_t used = 0;
  for (const auto& [name, copy] : copies_)
    used += copy.state == CopyState::fetching ? std::max(copy.bytes, room_of(*copy.entry)) : copy.bytes;
  return used;
}

std::vector<std::string> ImageLogic::evictable() const {
  std::vector<std::string> names;
  for (const auto& [name, copy] : copies_) {
    const bool is_idle = copy.state == CopyState::ready && copy.holders.empty() && !copy.is_verify_asked;
    if (is_idle && (copy.entry == nullptr || !copy.entry->is_prefetched)) names.push_back(name);
  }
  std::sort(names.begin(), names.end(), [this](const std::string& a, const std::string& b) {
    const auto rank = [this](const std::string& name) {
      const Copy& copy = copies_.at(name);
      return std::tuple(copy.entry != nullptr, copy.used_at, name);
    };
    return rank(a) < rank(b);
  });
  return names;
}

bool ImageLogic::make_room(Copy& wanted) {
  const std::uint64_t needed = room_of(*wanted.entry);
  const std::uint64_t used = used_bytes() - wanted.bytes;  // its parts are of what it needs
  if (used + needed <= config_.max_bytes) return true;
  std::uint64_t coming = 0;
  for (const auto& [name, copy] : copies_) {
    if (copy.state == CopyState::removing) coming += copy.bytes;
  }
  std::vector<std::string> chosen;
  for (const std::string& name : evictable()) {
    if (used - coming + needed <= config_.max_bytes) break;
    coming += copies_.at(name).bytes;
    chosen.push_back(name);
  }
  if (used - coming + needed <= config_.max_bytes) {
    for (const std::string& name : chosen) {
      ++counters_.evictions;
      remove(name, copies_.at(name));
    }
    return false;  // the last RemoveEnded comes back here
  }
  const std::string message = "there is no room for it: it needs " + bytes_text(needed) + ", " +
                              bytes_text(used) + " of " + bytes_text(config_.max_bytes) +
                              " are taken by what is in use or wanted as well";
  if (wanted.state != CopyState::waiting || !wanted.problem || wanted.problem->message != message)
    explain(Level::warning, message, wanted);
  wanted.state = CopyState::waiting;
  wanted.problem = Error::try_again(ErrorCode::out_of_resources, message, "raise images.max_bytes");
  wanted.retry_at = now_ + room_retry;
  return false;
}

bool ImageLogic::can_start(const Copy& copy) const {
  return copy.entry != nullptr && (copy.state == CopyState::ready || copy.state == CopyState::verifying);
}

Result<std::string> ImageLogic::decide_hold(std::string_view reference, Format format) const {
  const std::string shown = "image \"" + std::string(reference.substr(0, 120)) + "\"";
  const CatalogueEntry* entry = find(config_.catalogue, reference);
  if (entry == nullptr) {
    std::vector<std::string> known;
    for (const CatalogueEntry& each : config_.catalogue) known.push_back(full_name(each));
    const std::string nearest = nearest_name(reference, known);
    return Error::failed(
        ErrorCode::not_found, shown + " is not on this host",
        nearest.empty() ? "skep images list shows those that are" : "did you mean " + nearest + "?");
  }
  if (entry->format != format)
    return Error::failed(ErrorCode::unsupported,
                         shown + " has the format " + std::string(to_string(entry->format)) +
                             "; this driver starts " + std::string(to_string(format)));
  const std::string name = copy_name(*entry);
  const Copy& copy = copies_.at(name);
  if (can_start(copy)) return name;
  std::string why = "it is " + std::string(to_string(copy.state));
  if (!is_read_) why = "its folder was not read yet";
  if (copy.state == CopyState::fetching) why += ", " + percent(copy.done_bytes, bytes_of(*entry));
  if (copy.state == CopyState::absent && !entry->is_prefetched)
    why += " and fetched on demand only: skep images pull";
  if (copy.problem) why += "; " + copy.problem->message;
  return Error::try_again(ErrorCode::unavailable, shown + " cannot be started yet: " + why);
}

std::vector<std::string> ImageLogic::ready(Format format) const {
  std::vector<std::string> names;
  for (const CatalogueEntry& entry : config_.catalogue) {
    if (entry.format != format || !can_start(copies_.at(copy_name(entry)))) continue;
    const std::vector<std::string> references = references_of(config_.catalogue, entry);
    names.insert(names.end(), references.begin(), references.end());
  }
  return names;
}

std::vector<ImageStatus> ImageLogic::status(Instant now) const {
  std::vector<ImageStatus> all;
  for (const auto& [name, copy] : copies_) {
    ImageStatus status;
    status.copy = name;
    status.name = copy.name;
    status.version = copy.version;
    status.is_wanted = copy.entry != nullptr;
    status.state = copy.state;
    status.bytes = copy.bytes;
    if (copy.entry != nullptr) {
      status.channel = copy.entry->channel;
      status.format = to_string(copy.entry->format);
      status.digest = copy.entry->digest;
      status.total_bytes = bytes_of(*copy.entry);
      if (can_start(copy)) status.references = references_of(config_.catalogue, *copy.entry);
    }
    status.done_bytes = can_start(copy) ? status.total_bytes : copy.done_bytes;
    status.holders.assign(copy.holders.begin(), copy.holders.end());
    if (copy.problem) {
      status.problem = copy.problem->message;
      status.hint = copy.problem->hint;
    }
    status.attempts = copy.attempts;
    if (copy.state == CopyState::waiting) status.retry_in = std::max(Duration::zero(), copy.retry_at - now);
    status.used_at = copy.used_at;
    status.verified_at = copy.verified_at;
    all.push_back(std::move(status));
  }
  return all;
}

void ImageLogic::explain(Level level, const std::string& text, const Copy& copy) {
  out_.emplace_back(
      Explain{level, "image " + copy.name + "@" + copy.version + ": " + text, {{"image", copy.name}}, {}});
}

ImageLogic::Copy* ImageLogic::copy_of(const std::string& name) {
  const auto found = copies_.find(name);
  return found == copies_.end() ? nullptr : &found->second;
}

}  // namespace skep::agentd::images
