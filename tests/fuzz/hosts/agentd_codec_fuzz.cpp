// Every message between scheduler and agentd, in both directions: what is taken survives being written and
// read again, what is refused is refused with one short message.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/json/agentd_codec.h"
#include "core/check.h"

namespace {

using skep::Result;
using skep::json::Json;

template <typename T>
void check(const Json& in, Result<T> (*decode)(const Json&)) {
  const Result<T> value = decode(in);
  if (!value) {
    SKEP_ASSERT(value.error().code == skep::ErrorCode::invalid_input && !value.error().message.empty());
    return;
  }
  const Json written = skep::json::encode(*value);
  const auto parsed = skep::json::parse_strict(skep::json::dump(written));
  SKEP_ASSERT(parsed);
  const Result<T> again = decode(*parsed);
  SKEP_ASSERT(again && skep::json::encode(*again) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace skep::json;
  const auto parsed = parse_strict({reinterpret_cast<const char*>(data), size});
  if (!parsed) return 0;
  check(*parsed, decode_resources);
  check(*parsed, decode_executor_spec);
  check(*parsed, decode_executor_order);
  check(*parsed, decode_executor_report);
  check(*parsed, decode_host_report);
  check(*parsed, decode_lease_renewal);
  check(*parsed, decode_lease_reply);
  check(*parsed, decode_host_announcement);
  static_cast<void>(decode_error(*parsed));
  return 0;
}
