// A record of an image under whatever operators say and whatever becomes of its starts.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "scheduler/core/rollout.h"

namespace skep::scheduler::rollout_property_test {
namespace {

RolloutPolicy arbitrary_policy() {
  RolloutPolicy policy;
  policy.canary_share = *rc::gen::inRange(0, 101);
  policy.canary_starts = *rc::gen::inRange(1, 12);
  policy.worse_join_rate = *rc::gen::inRange(0, 101);
  return policy;
}

/// What one image's launches may be made from: its record, and the starts of the version on trial.
struct Model {
  ImageVersions image;
  int coming = 0;
  int unproven_starts = 0;  // since the rollout began, of a version of which none joined
  bool is_bad = false;

  void order(const RolloutPolicy& policy) {
    RolloutOrder order;
    order.image = image.name;
    order.version = *rc::gen::element<std::string>("1", "2", "3");
    order.holds = *rc::gen::arbitrary<bool>();
    order.is_now = !order.holds && *rc::gen::arbitrary<bool>();
    const bool was_under_way = is_under_way(image);
    const auto next = decide_rollout(image, order, policy, {});
    if (!next) {
      RC_ASSERT(!next.error().hint.empty());
      return;
    }
    // One that is under way is never replaced by another one.
    RC_ASSERT((!was_under_way || next->rollout->to == image.rollout->to));
    RC_ASSERT(next->current == image.current);
    if (!was_under_way) coming = unproven_starts = 0;
    if (!was_under_way) is_bad = *rc::gen::arbitrary<bool>();
    image = *next;
  }
  void roll_back() {
    const ImageVersions before = image;
    const auto next = decide_rollback(image, {});
    if (!next) return;
    RC_ASSERT(!is_under_way(*next));
    const std::string& expected = is_under_way(before) ? before.current : *before.previous;
    RC_ASSERT(next->current == expected);
    image = *next;
  }
  void launch(const RolloutPolicy& policy) {
    const auto references = decide_references(image, is_trial_affordable(image, coming, policy));
    RC_ASSERT(!references.empty());
    // The last resort is always what was good before.
    RC_ASSERT(references.back() == image_reference(image.name, image.current));
    RC_ASSERT((references.size() == 1 || image.rollout->state == RolloutState::canary ||
               image.rollout->state == RolloutState::rolling));
    const std::string& chosen = *rc::gen::elementOf(references);  // the first one may have no room
    note_launch(image, chosen);
    if (references.size() == 1 || chosen == references.back()) return;
    ++coming;
    ++unproven_starts;
    RC_ASSERT((!is_bad || unproven_starts <= policy.canary_starts));
  }
  void end_start(const RolloutPolicy& policy) {
    if (coming == 0 || !is_under_way(image)) return;
    --coming;
    Rollout& rollout = *image.rollout;
    is_bad ? static_cast<void>(++rollout.new_figures.failed) : rollout.new_figures.note_joined(100);
    const auto verdict = decide_verdict(rollout, policy);
    // Nothing failed, nothing was lost, all were as fast: never worse.
    if (verdict) RC_ASSERT((is_bad || !verdict->is_worse));
    // None joined at all: never good, unless every difference is allowed.
    if (verdict && is_bad) RC_ASSERT((verdict->is_worse || policy.worse_join_rate == 100));
    if (verdict && verdict->is_worse) rollout.state = RolloutState::stopped;
    if (verdict && !verdict->is_worse && !rollout.is_held) rollout.state = RolloutState::rolling;
  }
};

}  // namespace

TEST_CASE(
    "property: whatever is said and seen, a launch may fall back, and a bad version stays within bounds") {
  const bool holds = rc::check([] {
    const RolloutPolicy policy = arbitrary_policy();
    Model model;
    model.image.name = "base";
    const auto steps = *rc::gen::inRange(1, 200);
    for (int step = 0; step < steps; ++step) {
      switch (*rc::gen::inRange(0, 12)) {
        case 0:
          model.order(policy);
          break;
        case 1:
          model.roll_back();
          break;
        case 2:
          if (is_under_way(model.image) && model.image.rollout->state == RolloutState::pulling)
            model.image.rollout->state =
                model.image.rollout->share < 100 ? RolloutState::canary : RolloutState::rolling;
          break;
        case 3:
        case 4:
        case 5:
          model.end_start(policy);
          break;
        default:
          model.launch(policy);
      }
    }
  });
  CHECK(holds);
}

}  // namespace skep::scheduler::rollout_property_test
