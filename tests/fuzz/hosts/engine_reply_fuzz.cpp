// What a container engine answers, whatever it is: read as facts that are safe to use, or refused as unknown.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "drivers/container/archive_texts.h"
#include "drivers/container/engine_texts.h"
#include "drivers/container/image_plan.h"

namespace {

using namespace skep;
using namespace skep::drivers::container;

template <typename T>
void check_refusal(const Result<T>& read) {
  if (read) return;
  SKEP_ASSERT(read.error().outcome == Outcome::unknown && read.error().code == ErrorCode::malformed_reply);
  SKEP_ASSERT(!read.error().message.empty());
}

/// It becomes part of a path of the next request.
bool is_plain(const std::string& id) {
  return id.size() >= 12 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto container = read_container(text);
  check_refusal(container);
  if (container) SKEP_ASSERT(is_plain(container->engine_id) && container->exit_code >= 0);
  const std::map<std::string, std::string> labels{{owner_label, "skep-h1"}};
  for (const auto& list : {read_list(text, labels), read_list(text, {})}) {
    check_refusal(list);
    if (list) {
      for (const std::string& id : *list) SKEP_ASSERT(is_plain(id));
    }
  }
  const auto created = read_created(text);
  check_refusal(created);
  if (created) SKEP_ASSERT(is_plain(*created));
  check_refusal(read_wait(text));
  const auto image = read_image(text);
  check_refusal(image);
  if (image) SKEP_ASSERT(is_by_digest(image->id) && is_image(*image, image->id));
  const auto images = read_images(text);
  check_refusal(images);
  if (images) {
    for (const ListedImage& each : *images) SKEP_ASSERT(is_by_digest(each.id));
  }
  if (const auto loaded = read_load(text); !loaded)
    SKEP_ASSERT(loaded.error().message.size() < 1000 && loaded.error().outcome != Outcome::unknown);
  for (const char* name : {"manifest.json", "index.json"}) {
    const auto archive =
        read_archive({{name, "c", "l"}, {{name, std::string(text)}, {"c", std::string(text)}}});
    if (!archive) SKEP_ASSERT(archive.error().message.size() < 2000);
    if (archive) SKEP_ASSERT(!archive->configuration.empty() && !manifest_of(*archive, "t").empty());
  }
  const auto record = decode_record(std::string(text));
  if (record) SKEP_ASSERT(*decode_record(encode(*record)) == *record);
  const auto version = read_version(text);
  check_refusal(version);
  if (version) {
    const auto api = choose_api(*version);
    SKEP_ASSERT(!api || (api->rfind("v1.", 0) == 0 && api->size() < 16));
  }
  if (const auto id = read_event(text, "skep-h1")) SKEP_ASSERT(is_valid_name(id->text));
  const Error refused = refusal("x", 500, text);
  SKEP_ASSERT(refused.message.size() < 1000 && refused.message.find('\n') == std::string::npos);
  return 0;
}
