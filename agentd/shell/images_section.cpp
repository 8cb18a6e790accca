#include "agentd/shell/images_section.h"

#include <algorithm>
#include <set>

#include "core/ids.h"
#include "core/resources.h"

namespace skep::agentd {
namespace {

using config::ConfigSection;
using images::CatalogueEntry;
using images::Format;
using images::ImageFile;
using images::ImagesConfig;

constexpr std::int64_t max_size_bytes = std::int64_t{1} << 50;
constexpr std::uint64_t usual_growth =
    8;  // of a compressed tar, at most; small ones may hold much of the same
constexpr std::uint64_t usual_room = 64 << 20;

std::string bytes_text(std::uint64_t bytes) {
  return bytes_to_text(static_cast<std::int64_t>(bytes));
}

bool is_digest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

ImageFile read_file(ConfigSection section) {
  ImageFile file;
  file.name = section.required_text("name");
  if (!file.name.empty() && !images::is_valid_file_name(file.name))
    section.problem("name", "\"" + file.name + "\"",
                    "a plain file name: letters, digits, '.', '_', '-' and '+'");
  file.sha256 = section.required_text("sha256");
  if (!file.sha256.empty() && !is_digest(file.sha256))
    section.problem("sha256", "\"" + file.sha256 + "\"", "64 digits, 0-9 and a-f, as sha256sum prints them");
  if (!section.has("bytes")) section.problem("bytes", "nothing", "the size of the file, such as 73400320");
  file.bytes = static_cast<std::uint64_t>(section.bytes("bytes", 1, 1, max_size_bytes));
  section.done();
  return file;
}

void check_files(ConfigSection& section, const CatalogueEntry& entry, const ImagesConfig& config) {
  std::set<std::string> names;
  for (const ImageFile& file : entry.files) {
    if (!names.insert(file.name).second)
      section.problem("files", "\"" + file.name + "\" twice", "each file once");
  }
  const bool is_one = entry.format != Format::vm;
  if (is_one ? entry.files.size() != 1 : entry.files.empty())
    section.problem("files", std::to_string(entry.files.size()) + " files",
                    is_one ? "one tar, plain or compressed by gzip, bzip2, xz or zstd" : "at least one");
  if (images::bytes_of(entry) > config.fetch.max_bytes)
    section.problem("files", bytes_text(images::bytes_of(entry)) + " in all",
                    "at most images.fetch.max_bytes, " + bytes_text(config.fetch.max_bytes));
}

CatalogueEntry read_entry(ConfigSection section, const ImagesConfig& config, bool may_be_plain) {
  CatalogueEntry entry;
  entry.name = section.required_text("name");
  if (!entry.name.empty() && !is_valid_name(entry.name))
    section.problem("name", "\"" + entry.name + "\"", "a-z, 0-9 and -, at most 60 characters");
  entry.version = section.required_text("version");
  if (!entry.version.empty() && !images::is_valid_version(entry.version))
    section.problem("version", "\"" + entry.version + "\"",
                    "letters, digits, '.', '_', '-' and '+', at most 40, no dot in front");
  entry.channel = section.text("channel", entry.channel);
  if (!is_valid_name(entry.channel))
    section.problem("channel", "\"" + entry.channel + "\"", "a-z, 0-9 and -");
  entry.format =
      images::format_of(section.one_of("format", {"directory_tar", "vm", "container"}, "directory_tar"));
  if (!section.has("url"))
    section.problem("url", "nothing", "the address of the folder that holds the files");
  entry.url = section.url("url", {}, may_be_plain);
  for (ConfigSection& file : section.sections("files")) entry.files.push_back(read_file(file));
  check_files(section, entry, config);
  if (entry.format == Format::directory_tar) {
    const auto usual =
        std::min<std::uint64_t>(max_size_bytes, images::bytes_of(entry) * usual_growth + usual_room);
    entry.unpacked_bytes = static_cast<std::uint64_t>(
        section.bytes("unpacked_bytes", static_cast<std::int64_t>(usual), 1, max_size_bytes));
  }
  entry.is_prefetched = section.flag("prefetch", entry.is_prefetched);
  section.done();
  return entry;
}

}  // namespace

void read_images(ConfigSection section, bool is_there, ImagesConfig& out) {
  out.is_enabled = is_there;
  out.folder = section.text("folder");
  if (!out.folder.empty() && out.folder.front() != '/')
    section.problem("folder", "\"" + out.folder + "\"", "an absolute path");
  const auto bytes = [](ConfigSection& from, const char* key, std::uint64_t fallback) {
    return static_cast<std::uint64_t>(
        from.bytes(key, static_cast<std::int64_t>(fallback), 1, max_size_bytes));
  };
  out.max_bytes = bytes(section, "max_bytes", out.max_bytes);
  out.verify_every = section.duration("verify_every", out.verify_every, Duration::zero(), hours(24 * 365));
  const bool may_be_plain = section.flag("allow_http", false);
  ConfigSection fetch = section.section("fetch");
  out.fetch.timeout = fetch.duration("timeout", out.fetch.timeout, seconds(1), hours(24 * 7));
  out.fetch.min_rate = fetch.bytes("min_rate", out.fetch.min_rate, 0, max_size_bytes);
  out.fetch.max_bytes = bytes(fetch, "max_bytes", out.fetch.max_bytes);
  out.fetch.ca_file = fetch.text("ca_file");
  out.fetch.credentials_file = fetch.text("credentials_file");
  out.fetch.parallel = static_cast<int>(fetch.integer("parallel", out.fetch.parallel, 1, 16));
  fetch.done();
  std::set<std::string> versions, channels;
  for (ConfigSection& each : section.sections("catalogue")) {
    CatalogueEntry entry = read_entry(each, out, may_be_plain);
    if (!versions.insert(images::full_name(entry)).second)
      each.problem("version", images::full_name(entry) + " twice", "each version of an image once");
    else if (!channels.insert(entry.name + ":" + entry.channel).second)
      each.problem("channel", "a second version of " + entry.name + " in channel " + entry.channel,
                   "one version in each channel of an image");
    out.catalogue.push_back(std::move(entry));
  }
  if (const std::uint64_t least = images::least_max_bytes(out); least > out.max_bytes)
    section.problem(
        "max_bytes", bytes_text(out.max_bytes),
        "at least " + bytes_text(least) +
            ": what is fetched by itself must fit (unpacked_bytes count, prefetch: false does not)");
  section.done();
}

}  // namespace skep::agentd
