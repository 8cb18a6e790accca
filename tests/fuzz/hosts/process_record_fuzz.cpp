// A build can write what it likes into its own folder: records and status files are read without harm, and
// what was read is written and read again as the same.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "drivers/process/process_record.h"
#include "drivers/shared/control_texts.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace skep;
  using namespace skep::drivers;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto record = process::decode(text)) {
    SKEP_ASSERT(record->join.pid > 1 || !record->is_running);
    const std::string written = process::encode(*record);
    const auto again = process::decode(written);
    SKEP_ASSERT(again && process::encode(*again) == written);
  }
  Instance instance;
  apply_status(text, instance);
  SKEP_ASSERT(instance.message.size() <= 1000);
  SKEP_ASSERT(!instance.exit_code || (*instance.exit_code >= 0 && *instance.exit_code < 1000));
  return 0;
}
