// Lines: status, Content-Range, ETag, Location, Content-Encoding, offset.
#include <algorithm>
#include <charconv>

#include "common/http/download.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace skep::http;
  std::string_view text = skep::fuzz::as_text(data, size);
  const auto number = [&text] {
    const std::string_view line = skep::fuzz::take_line(text);
    std::uint64_t value = 0;
    std::from_chars(line.data(), line.data() + line.size(), value);
    return value;
  };
  DownloadReply reply;
  reply.status = static_cast<int>(number() % 1000);
  reply.content_range = skep::fuzz::take_line(text);
  reply.etag = skep::fuzz::take_line(text);
  reply.location = skep::fuzz::take_line(text);
  reply.content_encoding = skep::fuzz::take_line(text);
  const DownloadRequest request{"http://h/f", number(), "\"e\"", 1'000'000};
  const auto head = judge_head(request, reply);
  if (!head) {
    SKEP_ASSERT(head.error().outcome != skep::Outcome::unknown);
    SKEP_ASSERT(std::none_of(head.error().message.begin(), head.error().message.end(),
                             [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
    return 0;
  }
  SKEP_ASSERT(head->offset == 0 || head->offset == request.offset);
  SKEP_ASSERT(!head->total || *head->total <= request.max_bytes);
  return 0;
}
