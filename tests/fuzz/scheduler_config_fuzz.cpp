#include "scheduler/shell/config_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/config_invariants.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = skep::scheduler::parse_config_text(skep::fuzz::as_text(data, size), "fuzz.yaml");
  if (config) {
    SKEP_ASSERT(skep::test::broken_invariant(*config).empty());
    SKEP_ASSERT(skep::scheduler::keys_that_need_a_restart(*config, *config).empty());
  } else {
    SKEP_ASSERT(skep::test::names_a_place(config.error().message, "fuzz.yaml"));
  }
  return 0;
}
