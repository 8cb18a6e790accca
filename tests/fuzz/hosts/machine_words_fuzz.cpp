// What a QEMU, a guest or a host says, whatever it is: read as what is safe to use, or refused.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/ids.h"
#include "drivers/qemu/guest_texts.h"
#include "drivers/qemu/net_filter_texts.h"
#include "drivers/qemu/qmp_texts.h"
#include "drivers/qemu/vm_manifest.h"
#include "drivers/qemu/vm_record.h"
#include "join/guest_texts.h"

namespace {

using namespace skep;

template <typename T>
void check_refusal(const Result<T>& read) {
  if (!read) SKEP_ASSERT(!read.error().message.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace skep::drivers::qemu;
  const std::string text(reinterpret_cast<const char*>(data), size);
  check_refusal(read_greeting(text));
  const auto reply = read_qmp_reply(text, 1);
  check_refusal(reply);
  if (reply && *reply) check_refusal(read_run_state(**reply));
  const auto word = read_guest_line(text);
  check_refusal(word);
  static_cast<void>(attempt_of(text));
  const auto said = join::read_host_line(text);
  check_refusal(said);
  if (said) {
    if (const auto* start = std::get_if<join::HostStarts>(&*said)) {
      SKEP_ASSERT(is_valid_name(start->name) && start->machine_id.size() == 32 && !start->argv.empty());
      for (const auto& [name, address] : start->hosts)
        SKEP_ASSERT((name + address).find_first_of(" \n\r\t") == std::string::npos);
    }
  }
  const auto image =
      read_manifest(text, "/x", {{"kernel", std::string(64, 'a')}, {"initrd", std::string(64, 'b')}});
  check_refusal(image);
  if (image) SKEP_ASSERT(problem_of(*image).empty());
  const auto record = decode_record(text);
  check_refusal(record);
  if (record) {
    SKEP_ASSERT(!record->is_running || record->qemu.pid > 1);
    const auto again = decode_record(encode(*record));
    SKEP_ASSERT(again && again->user == record->user && again->cgroups == record->cgroups);
  }
  if (const auto reach = reach_from(text)) {
    SKEP_ASSERT(reach->port > 0 && reach->port < 65536 &&
                reach->host.find_first_of(" ;{}\n\"'") == std::string::npos);
  }
  return 0;
}
