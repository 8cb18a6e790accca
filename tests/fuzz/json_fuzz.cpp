// Both readers of JSON take and refuse the same texts, and what was read survives being written and read
// again.
#include "common/json/json.h"
#include "scheduler/jenkins/json_reader.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  const auto tree = skep::json::parse_strict(text);
  skep::scheduler::JsonReader reader(text);
  reader.skip();
  SKEP_ASSERT(reader.finish() == tree.has_value());
  if (!tree) {
    SKEP_ASSERT(tree.error().message.size() < 1000);
    return 0;
  }
  const auto again = skep::json::parse_strict(skep::json::dump(*tree));
  SKEP_ASSERT(again && *again == *tree);
  return 0;
}
