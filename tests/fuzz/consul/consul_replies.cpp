// Whatever Consul answers is a value or an error, and a value keeps what the header promises.
#include <cstdint>
#include <string>

#include "common/consul/consul_client.h"
#include "core/check.h"

using namespace skep;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string body(reinterpret_cast<const char*>(data), size);
  const http::Reply reply{200, {{"X-Consul-Index", "14"}, {"X-Consul-KnownLeader", "true"}}, body};
  if (const auto list = consul::decode_instances(reply)) {
    SKEP_ASSERT(list->index == 14);
    for (const consul::Instance& instance : list->instances) {
      SKEP_ASSERT(!instance.id.empty() && !instance.address.empty());
      SKEP_ASSERT(instance.port >= 0 && instance.port <= 65535);
    }
  }
  if (const auto reading = consul::decode_key(reply)) SKEP_ASSERT(reading->key.has_value());
  http::Reply with_index = reply;
  with_index.headers[0].second = body.substr(0, 32);
  static_cast<void>(consul::decode_instances(with_index).has_value());
  return 0;
}
