#include "scheduler/jenkins/replies.h"
#include "tests/fuzz/fuzz.h"

using namespace skep::scheduler;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  if (const auto nodes = parse_nodes_reply(text); !nodes)
    SKEP_ASSERT(nodes.error().outcome == skep::Outcome::unknown);
  if (const auto node = parse_node_reply(text, "skep-1"); !node)
    SKEP_ASSERT(node.error().outcome == skep::Outcome::unknown);
  if (const auto who = parse_is_anonymous(text); !who)
    SKEP_ASSERT(who.error().outcome == skep::Outcome::unknown);
  return 0;
}
