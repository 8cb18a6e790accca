#include "scheduler/jenkins/replies.h"
#include "tests/fuzz/fuzz.h"

using namespace skep::scheduler;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto items = parse_queue_reply(skep::fuzz::as_text(data, size));
  if (!items) {
    SKEP_ASSERT(items.error().outcome == skep::Outcome::unknown);
    return 0;
  }
  for (QueueItem& item : *items) {
    settle_label(item, {}, true, AnyNodeOf({make_node_names({"linux", "skep-1"})}));
    settle_label(item, {{item.id, "linux"}}, false, AnyNodeOf({}));
    SKEP_ASSERT(item.label_source == LabelSource::script);
  }
  return 0;
}
