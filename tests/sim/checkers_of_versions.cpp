// Versions of images: every launch has one that its rollout allows, a bad version stops within a bounded
// number of starts, and at rest nothing of another version is left.
#include <algorithm>

#include "tests/sim/checkers.h"

namespace skep::sim {
namespace {

using scheduler::image_reference;
using scheduler::ImageVersions;
using scheduler::is_under_way;
using scheduler::RolloutState;
using simulation::SchedulerProcess;
using simulation::World;

/// As the durable record of that scheduler allows, whatever its logic thinks.
bool is_allowed(const ImageVersions& image, const std::string& reference) {
  if (reference == image_reference(image.name, image.current)) return true;
  const bool is_tried = is_under_way(image) && image.rollout->state != RolloutState::pulling;
  return is_tried && reference == image_reference(image.name, image.rollout->to);
}

}  // namespace

void Checkers::check_version(const World& world, int scheduler, const scheduler::ExecutorRecord& record) {
  const scheduler::Template* made_of = template_of(record.template_name);
  if (made_of == nullptr) return;
  const auto& process = *world.schedulers[static_cast<std::size_t>(scheduler)];
  const ImageVersions* image = process.images.find(made_of->image);
  const bool is_right = image == nullptr ? record.image == made_of->image : is_allowed(*image, record.image);
  if (!is_right)
    report(world, "a launch has a version that was decided",
           record.id.text + " is of " + record.image + ", and image " + made_of->image + " is at \"" +
               (image == nullptr ? "" : image->current) + "\"");
}

void Checkers::note_version_started(const World& world, const std::string& image, const ExecutorId& id) {
  if (!weather_.plan.unjoining_images.contains(image)) return;
  probe("a version that never joins is started");
  auto& starts = bad_starts_[image];
  starts.insert(id);
  // One that a scheduler was killed over is not counted by the next one.
  const int bound = weather_.plan.scheduler.rollouts.canary_starts * (1 + schedulers_ended_);
  if (static_cast<int>(starts.size()) > bound)
    report(world, "a bad version stops by itself",
           image + " was started " + std::to_string(starts.size()) + " times, at most " +
               std::to_string(bound) + " were to be risked");
}

void Checkers::note_rollout(const ImageVersions& image) {
  if (!image.rollout) return;
  const WallTime begun = image.rollout->started_at;
  const auto [known, is_new] = rollouts_begun_.try_emplace(image.name, begun);
  if (is_new || known->second != begun) {
    known->second = begun;
    schedulers_ended_ = 0;
    bad_starts_.clear();
  }
  switch (image.rollout->state) {
    case RolloutState::pulling:
      return;
    case RolloutState::canary:
      return probe("a canary begins");
    case RolloutState::rolling:
      return probe("a version rolls");
    case RolloutState::done:
      return probe("a rollout is done");
    case RolloutState::stopped:
      return probe("a rollout stops");
  }
}

std::optional<std::string> Checkers::unfinished_rollout(const World& world,
                                                        const SchedulerProcess& leader) const {
  for (const auto& [name, image] : leader.images.records()) {
    if (image.rollout && image.rollout->state == RolloutState::pulling)
      return "hosts are still asked for " + name + "@" + image.rollout->to;
    if (is_under_way(image)) continue;  // without demand it is not proven
    const std::string wanted = image_reference(name, image.current);
    for (const auto& [id, record] : leader.records.records()) {
      const scheduler::Template* made_of = template_of(record.template_name);
      const auto host = world.host_by_id.find(record.host);
      if (made_of == nullptr || made_of->image != name || host == world.host_by_id.end()) continue;
      const bool is_idle = record.state != ExecutorState::gone && !record.was_used && !record.held_until;
      const auto& there = host->second->plan.images;
      const bool has_successor = std::find(there.begin(), there.end(), wanted) != there.end();
      if (is_idle && has_successor && record.image != wanted &&
          host->second->model.look_at(record.id, world.now))
        return id + " of " + record.image + " is left, although " + wanted + " is to take its place";
    }
  }
  return std::nullopt;
}

}  // namespace skep::sim
