// Versions of images: the rollout under way for each image name, what hosts are asked to fetch for it, and
// what is counted of its executors. The decisions themselves are in rollout.cpp.
#include <algorithm>

#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration first_pull_again = seconds(15);
constexpr Duration last_pull_again = minutes(10);
constexpr Duration look_done_every = seconds(1);
constexpr Duration first_reports = seconds(30);  // hosts announce themselves again, and are asked
constexpr int most_counted = 200;                // then what is old counts half
constexpr std::size_t most_listed = 3;

std::string first_of(const std::vector<HostId>& ids) {
  std::string text;
  for (std::size_t i = 0; i < ids.size() && i < most_listed; ++i)
    text += (text.empty() ? "" : ", ") + ids[i].text;
  if (ids.size() > most_listed) text += " and " + std::to_string(ids.size() - most_listed) + " more";
  return text;
}

/// Of what is seen while nothing is rolled out: old news count less.
void forget_half(VersionFigures& figures) {
  if (figures.ended() < most_counted && figures.builds < most_counted) return;
  figures.joined /= 2;
  figures.failed /= 2;
  figures.builds /= 2;
  figures.lost_builds /= 2;
}

}  // namespace

const ImageVersions* LogicState::versions_of(const Template& value) const {
  if (images.empty() || !is_rollable(value.image)) return nullptr;
  const auto found = images.find(value.image);
  return found == images.end() ? nullptr : &found->second;
}

std::string LogicState::image_of(const Executor& e) const {
  if (!e.record.image.empty()) return e.record.image;
  return e.spec ? e.spec->image : std::string();
}

int LogicState::coming_of(const std::string& reference) const {
  return static_cast<int>(std::count_if(in_play.begin(), in_play.end(), [&](const Executor* e) {
    return is_coming(e->state()) && !e->record.was_counted && e->record.image == reference;
  }));
}

std::vector<std::string> LogicState::references_for(const Template& value) const {
  const ImageVersions* image = versions_of(value);
  if (image == nullptr) return {value.image};
  if (!is_under_way(*image)) return decide_references(*image, true);
  const int coming = coming_of(image_reference(image->name, image->rollout->to));
  return decide_references(*image, is_trial_affordable(*image, coming, config.rollouts));
}

std::optional<std::string> LogicState::replacing_reference_of(const Template& value) const {
  const ImageVersions* image = versions_of(value);
  if (image == nullptr) return std::nullopt;
  auto wanted = replacing_reference(*image);
  if (!wanted || !is_under_way(*image)) return wanted;
  return is_trial_affordable(*image, coming_of(*wanted), config.rollouts) ? wanted : std::nullopt;
}

std::shared_ptr<const Template> LogicState::variant(std::size_t index, const std::string& image) {
  if (templates[index]->image == image) return templates[index];
  auto& kept = variants_[{index, image}];
  if (!kept) {
    auto made = std::make_shared<Template>(*templates[index]);
    made->image = image;
    kept = std::move(made);
  }
  return kept;
}

bool LogicState::is_on_trial(const Executor& e) const {
  if (images.empty() || !e.spec) return false;
  const ImageVersions* image = versions_of(*e.spec);
  return image != nullptr && image_of(e) != image_reference(image->name, image->current);
}

// --- what is counted

void LogicState::note_start(const Executor& e) {
  if (images.empty()) return;
  const auto found = images.find(e.spec->image);
  if (found == images.end()) return;
  ImageVersions& image = found->second;
  if (is_under_way(image) && e.record.image == image_reference(image.name, image.rollout->to))
    ++counters.rollout_starts;
  if (note_launch(image, e.record.image)) emit(RecordImage{image});
}

/// Where it counts; nullptr: nowhere. `is_recorded`: in a rollout that is under way.
VersionFigures* LogicState::figures_of(const Executor& e, bool& is_recorded) {
  is_recorded = false;
  if (!e.spec || !is_rollable(e.spec->image)) return nullptr;
  const std::string made_from = image_of(e);
  const auto found = images.find(e.spec->image);
  if (found == images.end()) return &image_watches[e.spec->image].before;
  ImageVersions& image = found->second;
  const bool is_current = made_from == image_reference(image.name, image.current);
  if (!is_under_way(image)) return is_current ? &image_watches[image.name].before : nullptr;
  is_recorded = true;
  if (is_current) return &image.rollout->old_figures;
  return made_from == image_reference(image.name, image.rollout->to) ? &image.rollout->new_figures : nullptr;
}

void LogicState::note_joined(Executor& e) {
  bool is_recorded = false;
  VersionFigures* figures = e.record.was_counted ? nullptr : figures_of(e, is_recorded);
  if (figures == nullptr) return;
  const auto took = e.ordered_at ? std::optional(to_ms(now - *e.ordered_at)) : std::nullopt;
  figures->note_joined(took);
  if (!is_recorded) return forget_half(*figures);
  e.record.was_counted = true;
  record(e);
  emit(RecordImage{images.at(e.spec->image)});
  look_at_images();
}

void LogicState::note_start_failed(Executor& e, bool is_hosts_fault) {
  bool is_recorded = false;
  // What an earlier leader was killed over may never have been ordered.
  const bool was_started = !e.is_adopted || e.was_seen_on_host;
  const bool counts =
      is_hosts_fault && was_started && is_coming(e.state()) && !e.is_resuming && !e.record.was_counted;
  VersionFigures* figures = counts ? figures_of(e, is_recorded) : nullptr;
  if (figures == nullptr) return;
  ++figures->failed;
  if (!is_recorded) return forget_half(*figures);
  e.record.was_counted = true;
  record(e);
  emit(RecordImage{images.at(e.spec->image)});
  look_at_images();
}

void LogicState::note_build_ended(const Executor& e, bool is_lost) {
  bool is_recorded = false;
  VersionFigures* figures = figures_of(e, is_recorded);
  if (figures == nullptr) return;
  figures->note_build(is_lost);
  if (!is_recorded) return forget_half(*figures);
  emit(RecordImage{images.at(e.spec->image)});
  look_at_images();
}

// --- operators

Result<ImageVersions> LogicState::rolled_out(const RolloutOrder& order, WallTime at) const {
  std::string names;
  std::vector<std::string> candidates;
  bool is_known = false, is_pinned = false;
  for (const auto& value : templates) {
    is_known = is_known || value->image == order.image;
    is_pinned = is_pinned || value->image.starts_with(order.image + "@");
    if (!is_rollable(value->image)) continue;
    if (std::find(candidates.begin(), candidates.end(), value->image) != candidates.end()) continue;
    candidates.push_back(value->image);
    names += (names.empty() ? "" : ", ") + value->image;
  }
  if (!is_rollable(order.image))
    return Error::failed(ErrorCode::invalid_input, "\"" + order.image + "\" is no name of an image",
                         "name and version are two words: skep images rollout base 2");
  if (!is_known) {
    const std::string why = is_pinned ? "templates name a version of image " + order.image +
                                            " themselves, which no rollout changes"
                                      : "no template names image " + order.image;
    return Error::failed(ErrorCode::not_found, why,
                         names.empty() ? "say image: NAME in a template, without a version, and reload"
                                       : "images that can be rolled out: " + names);
  }
  const auto found = images.find(order.image);
  ImageVersions image = found == images.end() ? ImageVersions{} : found->second;
  image.name = order.image;
  const bool is_new = !is_under_way(image);
  auto next = decide_rollout(image, order, config.rollouts, at);
  const auto watch = image_watches.find(order.image);
  if (next && is_new && watch != image_watches.end()) next->rollout->old_figures = watch->second.before;
  return next;
}

Result<ImageVersions> LogicState::rolled_back(const std::string& name, WallTime at) const {
  const auto found = images.find(name);
  if (found == images.end())
    return Error::failed(ErrorCode::not_found, "image " + name + " was never rolled out",
                         "skep images rollouts lists those that were");
  return decide_rollback(found->second, at);
}

void LogicState::on_roll_out(const RollOutImage& event) {
  auto next = rolled_out(event.order, wall);
  if (!next) return;
  ImageWatch& watch = image_watches[next->name];
  watch.since = now;
  watch.pulls.clear();
  images[next->name] = *next;
  emit(RecordImage{*next});
  say(Level::info, rollout_in_words(*next, config.rollouts),
      {{"image", next->name}, {"to", next->rollout->to}, {"share", std::to_string(next->rollout->share)}});
  look_at_images();
  replan();
}

void LogicState::on_roll_back(const RollBackImage& event) {
  auto next = rolled_back(event.image, wall);
  if (!next) return;
  ImageWatch& watch = image_watches[next->name];
  watch.since = now;
  watch.pulls.clear();
  watch.before = VersionFigures{};
  images[next->name] = *next;
  emit(RecordImage{*next});
  if (next->rollout) give_up_trial(*next);
  say(Level::info, "an operator rolled an image back: " + rollout_in_words(*next, config.rollouts),
      {{"image", next->name}});
  look_at_images();
  replan();
}

void LogicState::on_image_pulled(const ImagePulled& event) {
  for (auto& [name, watch] : image_watches) {
    const auto found = watch.pulls.find({event.host, event.reference});
    if (found == watch.pulls.end() || found->second.call.id != event.call) continue;
    HostPull& pull = found->second;
    pull.call = {};
    pull.is_unknown = !event.problem && event.problem.error().code == ErrorCode::not_found;
    pull.problem = event.problem ? *event.problem : event.problem.error().message;
    pull.retry.note_failure(now, first_pull_again, last_pull_again);
    look_at_images();
  }
}

// --- what follows

std::vector<const HostView*> LogicState::hosts_serving(const std::string& image) const {
  std::vector<const HostView*> found;
  for (const HostView& view : views) {
    if (!view.is_known || view.is_draining) continue;
    const bool serves_it = std::any_of(templates.begin(), templates.end(), [&](const auto& value) {
      return value->image == image && could_serve(*value, view);
    });
    if (serves_it) found.push_back(&view);
  }
  std::sort(found.begin(), found.end(),
            [](const HostView* a, const HostView* b) { return a->host < b->host; });
  return found;
}

void LogicState::advance_images() {
  if (images.empty()) return;
  if (is_images_due_ || (images_wake_ && *images_wake_ <= now)) {
    is_images_due_ = false;
    images_wake_.reset();
    refresh_views();
    for (auto& [name, image] : images) advance_image(image);
    if (is_images_due_) wake_images(now);
  }
  if (images_wake_) wake_at(*images_wake_);
}

void LogicState::become(ImageVersions& image, RolloutState state, const std::string& reason) {
  Rollout& rollout = *image.rollout;
  rollout.state = state;
  rollout.reason = reason;
  rollout.changed_at = wall;
  if (state == RolloutState::done) {
    image.previous = image.current;
    image.current = rollout.to;
    image_watches[image.name].before = rollout.new_figures;
  }
  if (state == RolloutState::stopped) {
    image_watches[image.name].before = rollout.old_figures;
    ++counters.rollout_stops;
    give_up_trial(image);
  }
  image_watches[image.name].since = now;
  emit(RecordImage{image});
  const bool is_bad = state == RolloutState::stopped || !reason.empty();
  say(is_bad ? Level::warning : Level::info, rollout_in_words(image, config.rollouts),
      {{"image", image.name}, {"to", rollout.to}, {"state", std::string(to_string(state))}});
  is_images_due_ = true;
  replan();
}

void LogicState::advance_image(ImageVersions& image) {
  const std::vector<const HostView*> serving = hosts_serving(image.name);
  pull(image, serving);
  if (!is_under_way(image)) return;
  if (image.rollout->state != RolloutState::pulling) {
    judge(image);
    if (image.rollout->state == RolloutState::rolling) advance_rolling(image, serving);
    return;
  }
  const ImageWatch& watch = image_watches[image.name];
  const std::string reference = image_reference(image.name, image.rollout->to);
  const auto is_ready = [&](const HostView* host) { return has_image(*host, reference); };
  const auto is_unknown = [&](const HostView* host) {
    const auto found = watch.pulls.find({host->host, reference});
    return found != watch.pulls.end() && found->second.is_unknown;
  };
  const Instant over = watch.since + config.rollouts.give_up_after;
  if (std::any_of(serving.begin(), serving.end(), is_ready))
    return become(image, image.rollout->share < 100 ? RolloutState::canary : RolloutState::rolling, {});
  if (!serving.empty() && !may_be_unseen() && std::all_of(serving.begin(), serving.end(), is_unknown))
    return become(image, RolloutState::stopped,
                  "none of the " + std::to_string(serving.size()) + " hosts that serve it has " + reference +
                      " in its catalogue");
  if (now >= over)
    return become(
        image, RolloutState::stopped,
        "no host had " + reference + " ready within " + duration_to_text(config.rollouts.give_up_after));
  wake_images(std::min(over, std::max(led_since + first_reports, now + look_done_every)));
}

/// A host that is not seen may have what no other one has; soon after a start not all have reported.
bool LogicState::may_be_unseen() const {
  return now < led_since + first_reports ||
         std::any_of(views.begin(), views.end(), [](const HostView& view) { return !view.is_known; });
}

/// What is still on its way of a version that is not wanted: those that wait for it get another one at once.
void LogicState::give_up_trial(const ImageVersions& image) {
  const std::string reference = image_reference(image.name, image.rollout->to);
  std::vector<Executor*> coming;
  for (Executor* e : in_play) {
    const bool is_it = is_coming(e->state()) && !e->is_resuming && !e->held_until;
    if (is_it && e->record.image == reference && reference != image_reference(image.name, image.current))
      coming.push_back(e);
  }
  for (Executor* e : coming) retire(*e, "unused: the rollout to " + reference + " stopped", false);
}

void LogicState::judge(ImageVersions& image) {
  Rollout& rollout = *image.rollout;
  const auto verdict = decide_verdict(rollout, config.rollouts);
  if (!verdict) return;
  if (verdict->is_worse) return become(image, RolloutState::stopped, verdict->reason);
  if (rollout.state != RolloutState::canary || rollout.is_good) return;
  if (!rollout.is_held) return become(image, RolloutState::rolling, {});
  rollout.is_good = true;
  become(image, RolloutState::canary, {});
}

bool LogicState::has_others_left(const ImageVersions& image) const {
  const std::string reference = image_reference(image.name, image.rollout->to);
  return std::any_of(executors.begin(), executors.end(), [&](const auto& pair) {
    const Executor& e = pair.second;
    if (!e.spec || e.spec->image != image.name || !occupies_slot(e.state())) return false;
    return !e.held_until && e.state() != ExecutorState::held && image_of(e) != reference;
  });
}

void LogicState::advance_rolling(ImageVersions& image, const std::vector<const HostView*>& serving) {
  if (image.rollout->new_figures.ended() < config.rollouts.canary_starts) return;  // not proven yet
  ImageWatch& watch = image_watches[image.name];
  if (now < watch.look_again) return wake_images(watch.look_again);
  watch.look_again = now + look_done_every;
  const std::string reference = image_reference(image.name, image.rollout->to);
  const Instant over = watch.since + config.rollouts.give_up_after;
  std::vector<HostId> without;
  for (const HostView* host : serving) {
    if (has_image(*host, reference)) continue;
    without.push_back(host->host);
    const auto found = watch.pulls.find({host->host, reference});
    const bool is_unknown = found != watch.pulls.end() && found->second.is_unknown;
    if (!is_unknown && now < over) return wake_images(over);  // or when it tells otherwise
  }
  if (without.size() == serving.size() || has_others_left(image)) return;
  become(image, RolloutState::done,
         without.empty()
             ? std::string()
             : "without it, and with no executor of this image from now on: " + first_of(without));
}

void LogicState::pull(const ImageVersions& image, const std::vector<const HostView*>& serving) {
  auto& pulls = image_watches[image.name].pulls;
  const std::vector<std::string> references = pulled_references(image);
  std::erase_if(pulls, [&](const auto& pair) {
    return std::find(references.begin(), references.end(), pair.first.second) == references.end();
  });
  for (const HostView* view : serving) {
    for (const std::string& reference : references) {
      const std::pair key(view->host, reference);
      if (has_image(*view, reference)) {
        pulls.erase(key);
        continue;
      }
      HostPull& pull = pulls[key];
      const std::string boot_id = hosts_boot(view->host);
      if (pull.boot_id != boot_id) pull = HostPull{};  // it has read its catalogue again
      pull.boot_id = boot_id;
      if (pull.call.is_pending() && now < pull.call.sent + call_limit) {
        wake_images(pull.call.sent + call_limit);
      } else if (now < pull.retry.next) {
        wake_images(pull.retry.next);
      } else {
        pull.call = new_call();
        emit(PullImage{pull.call.id, view->host, reference});
        wake_images(now + call_limit);
      }
    }
  }
}

std::string LogicState::hosts_boot(const HostId& id) const {
  const auto found = hosts.find(id);
  return found == hosts.end() ? std::string() : found->second.report.boot_id;
}

// --- for people

ImageStatus LogicState::image_status(const ImageVersions& image) const {
  ImageStatus out;
  out.image = image;
  out.text = rollout_in_words(image, config.rollouts);
  for (const auto& value : templates) {
    if (value->image == image.name) out.templates.push_back(value->name);
  }
  const std::vector<std::string> references = pulled_references(image);
  out.reference = references.empty() ? image.name : references.front();
  const auto watch = image_watches.find(image.name);
  for (const HostView* view : hosts_serving(image.name)) {
    ImageAtHost host{view->host, has_image(*view, out.reference), {}};
    if (!host.is_ready && watch != image_watches.end()) {
      const auto found = watch->second.pulls.find({view->host, out.reference});
      if (found != watch->second.pulls.end()) host.problem = found->second.problem;
    }
    out.hosts.push_back(std::move(host));
  }
  for (const auto& [id, e] : executors) {
    if (e.spec && e.spec->image == image.name && occupies_slot(e.state())) ++out.living[image_of(e)];
  }
  return out;
}

std::string LogicState::image_note(const Template& value) const {
  const ImageVersions* image = versions_of(value);
  if (image == nullptr || !image->rollout || image->rollout->state == RolloutState::done) return {};
  return rollout_in_words(*image, config.rollouts);
}

Template LogicState::with_image(const Template& value) const {
  Template made = value;
  if (versions_of(value) != nullptr) made.image = references_for(value).back();
  return made;
}

}  // namespace skep::scheduler
