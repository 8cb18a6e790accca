// The answer to createSlave: Java properties with the secret in it.
#include "common/json/json.h"
#include "scheduler/jenkins/answers.h"
#include "scheduler/jenkins/texts.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  for (const auto& [key, value] : skep::scheduler::parse_properties(text)) {
    // ISO-8859-1 came in, UTF-8 comes out, whatever the escapes say.
    const auto written =
        skep::json::parse_strict(skep::json::dump(skep::json::Json{{"k", key}, {"v", value}}));
    SKEP_ASSERT(written && (*written)["k"] == key && (*written)["v"] == value);
  }
  skep::http::Reply reply;
  reply.status = 200;
  reply.body = text;
  if (const auto secret = skep::scheduler::read_created(reply, "skep-1")) SKEP_ASSERT(!secret->empty());
  return 0;
}
