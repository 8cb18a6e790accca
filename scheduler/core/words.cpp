// Names of the enumerations, as people and APIs see them.
#include "scheduler/core/explanation.h"
#include "scheduler/core/facts.h"
#include "scheduler/core/placement.h"

namespace skep::scheduler {

std::string_view to_string(ItemStage stage) {
  switch (stage) {
    case ItemStage::waiting:
      return "waiting";
    case ItemStage::blocked:
      return "blocked";
    case ItemStage::buildable:
      return "buildable";
    case ItemStage::pending:
      return "pending";
  }
  return "waiting";
}

std::string_view to_string(LabelSource source) {
  switch (source) {
    case LabelSource::script:
      return "script";
    case LabelSource::label_expression:
      return "label_expression";
    case LabelSource::why:
      return "why";
    case LabelSource::unresolved:
      return "unresolved";
  }
  return "unresolved";
}

std::string_view to_string(NodeNews::Kind kind) {
  using Kind = NodeNews::Kind;
  switch (kind) {
    case Kind::online:
      return "online";
    case Kind::offline:
      return "offline";
    case Kind::opened:
      return "opened";
    case Kind::closed:
      return "closed";
    case Kind::accepted:
      return "accepted";
    case Kind::completed:
      return "completed";
    case Kind::continues:
      return "continues";
  }
  return "continues";
}

std::string_view to_string(OneBuildMeans means) {
  switch (means) {
    case OneBuildMeans::hook:
      return "hook";
    case OneBuildMeans::gate:
      return "gate";
  }
  return "gate";
}

std::string_view to_string(WaitReason reason) {
  switch (reason) {
    case WaitReason::quiet_period:
      return "quiet_period";
    case WaitReason::blocked:
      return "blocked";
    case WaitReason::stopping:
      return "stopping";
    case WaitReason::label_unresolved:
      return "label_unresolved";
    case WaitReason::no_template:
      return "no_template";
    case WaitReason::template_limit:
      return "template_limit";
    case WaitReason::no_room:
      return "no_room";
    case WaitReason::backoff:
      return "backoff";
    case WaitReason::paused:
      return "paused";
    case WaitReason::frozen:
      return "frozen";
    case WaitReason::executor_coming:
      return "executor_coming";
    case WaitReason::gate_opening:
      return "gate_opening";
    case WaitReason::resume:
      return "resume";
    case WaitReason::resume_lost:
      return "resume_lost";
    case WaitReason::served_elsewhere:
      return "served_elsewhere";
  }
  return "frozen";
}

std::string_view to_string(Filter filter) {
  switch (filter) {
    case Filter::host_unknown:
      return "host_unknown";
    case Filter::draining:
      return "draining";
    case Filter::driver:
      return "driver";
    case Filter::image:
      return "image";
    case Filter::attributes:
      return "attributes";
    case Filter::executors_limit:
      return "executors_limit";
    case Filter::cpu:
      return "cpu";
    case Filter::memory:
      return "memory";
    case Filter::disk:
      return "disk";
    case Filter::countable:
      return "countable";
    case Filter::pace:
      return "pace";
    case Filter::breaker:
      return "breaker";
  }
  return "host_unknown";
}

}  // namespace skep::scheduler
