#include "agentd/images/store_layout.h"

#include <algorithm>

#include "common/digest/sha256.h"
#include "common/json/json.h"
#include "common/log/log.h"
#include "linux/linux_files.h"

namespace skep::agentd::images {
namespace {

namespace fs = std::filesystem;
using json::Json;

constexpr std::size_t max_manifest_bytes = 1 << 20;
constexpr std::size_t max_small_bytes = 4096;

std::vector<std::string> names_in(const fs::path& folder, std::error_code& failure) {
  std::vector<std::string> names;
  for (auto entry = fs::directory_iterator(folder, failure); !failure && entry != fs::directory_iterator();
       entry.increment(failure))
    names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Error unreadable(const fs::path& path, const std::error_code& failure) {
  return Error::try_again(ErrorCode::generic,
                          "cannot read the image folder " + path.string() + ": " + failure.message());
}

Result<ImageFile> decode_file(const Json& in) {
  const auto name = json::get_string(in, "name");
  if (!name) return name.error();
  const auto sha256 = json::get_string(in, "sha256");
  if (!sha256) return sha256.error();
  const auto bytes = json::get_int64(in, "bytes");
  if (!bytes) return bytes.error();
  if (!is_valid_file_name(*name) || !digest::is_sha256_hex(*sha256) || *bytes < 0)
    return Error::failed(ErrorCode::malformed_reply, "a file of it is not understood");
  return ImageFile{*name, *sha256, static_cast<std::uint64_t>(*bytes)};
}

/// By what a look at names and sizes tells.
bool looks_whole(const fs::path& folder, const Manifest& manifest) {
  std::error_code failure;
  if (fs::exists(fs::symlink_status(folder / StoreLayout::broken_mark, failure))) return false;
  if (manifest.format == Format::directory_tar)
    return fs::is_directory(folder / StoreLayout::tree_folder, failure);
  return std::all_of(manifest.files.begin(), manifest.files.end(), [&](const ImageFile& file) {
    const fs::path path = folder / StoreLayout::files_folder / file.name;
    return fs::is_regular_file(fs::symlink_status(path, failure)) &&
           fs::file_size(path, failure) == file.bytes;
  });
}

Result<CopyFound> look_at(const StoreLayout& layout, const std::string& copy) {
  const fs::path folder = layout.ready(copy);
  CopyFound found;
  found.copy = copy;
  found.is_broken = true;
  const std::size_t at = copy.find('@'), dash = copy.rfind('-');
  found.name = copy.substr(0, at);
  if (at != std::string::npos && dash != std::string::npos && dash > at)
    found.version = copy.substr(at + 1, dash - at - 1);
  found.bytes = bytes_below(folder);
  const auto manifest = read_manifest(folder);
  if (!manifest) return says_nothing(manifest.error()) ? Result<CopyFound>(found) : manifest.error();
  CatalogueEntry entry;
  entry.name = manifest->name;
  entry.version = manifest->version;
  entry.digest = digest_of(manifest->format, manifest->files);
  found.is_broken = copy_name(entry) != copy || !looks_whole(folder, *manifest);
  if (!found.is_broken) found.bytes = manifest->bytes;
  const CopyTimes times = read_times(folder);
  found.used_at = times.used_at;
  found.verified_at = times.verified_at;
  return found;
}

}  // namespace

std::string digest_of(Format format, const std::vector<ImageFile>& files) {
  digest::Sha256 digest;
  digest.update(std::string(to_string(format)) + "\n");
  for (const ImageFile& file : files)
    digest.update(file.sha256 + " " + std::to_string(file.bytes) + " " + file.name + "\n");
  return digest.hex();
}

std::string encode(const Manifest& manifest) {
  Json files = Json::array();
  for (const ImageFile& file : manifest.files)
    files.push_back({{"name", file.name}, {"sha256", file.sha256}, {"bytes", file.bytes}});
  return json::dump({{"name", manifest.name},
                     {"version", manifest.version},
                     {"format", to_string(manifest.format)},
                     {"files", std::move(files)},
                     {"tree_sha256", manifest.tree_sha256},
                     {"bytes", manifest.bytes}});
}

Result<Manifest> decode_manifest(const std::string& text) {
  const auto in = json::parse_strict(text);
  if (!in) return in.error();
  Manifest out;
  for (const auto& [key, target] : {std::pair("name", &out.name), std::pair("version", &out.version),
                                    std::pair("tree_sha256", &out.tree_sha256)}) {
    const auto value = json::get_string(*in, key);
    if (!value) return value.error();
    *target = *value;
  }
  const auto format = json::get_string(*in, "format");
  if (!format) return format.error();
  out.format = format_of(*format);
  const auto bytes = json::get_int64(*in, "bytes");
  if (!bytes) return bytes.error();
  out.bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *bytes));
  if (!in->contains("files") || !(*in)["files"].is_array())
    return Error::failed(ErrorCode::malformed_reply, "\"files\" is no list");
  for (const Json& each : (*in)["files"]) {
    auto file = decode_file(each);
    if (!file) return file.error();
    out.files.push_back(std::move(*file));
  }
  return out;
}

bool says_nothing(const Error& error) {
  return error.code == ErrorCode::not_found || error.code == ErrorCode::malformed_reply ||
         error.code == ErrorCode::invalid_input || error.code == ErrorCode::too_large;
}

Result<Manifest> read_manifest(const fs::path& copy_folder) {
  const auto text =
      posix_host::read_plain_file((copy_folder / StoreLayout::manifest_file).string(), max_manifest_bytes);
  if (!text) return text.error();
  return decode_manifest(*text);
}

void write_times(const fs::path& copy_folder, const CopyTimes& times) {
  const Json out{{"used_at_ms", times.used_at.ms_since_epoch},
                 {"verified_at_ms", times.verified_at.ms_since_epoch}};
  if (auto written = posix_host::write_file_atomically((copy_folder / StoreLayout::state_file).string(),
                                                       json::dump(out), 0600);
      !written)
    log::write(log::Level::debug, "the use of an image was not noted: " + written.error().message);
}

CopyTimes read_times(const fs::path& copy_folder) {
  CopyTimes times;
  const auto text =
      posix_host::read_plain_file((copy_folder / StoreLayout::state_file).string(), max_small_bytes);
  if (!text) return times;
  const auto in = json::parse_strict(*text);
  if (!in) return times;
  if (const auto used = json::get_int64(*in, "used_at_ms")) times.used_at.ms_since_epoch = *used;
  if (const auto verified = json::get_int64(*in, "verified_at_ms"))
    times.verified_at.ms_since_epoch = *verified;
  return times;
}

Result<void> make_folders(const StoreLayout& layout) {
  for (const fs::path& folder : {layout.root, layout.root / "ready", layout.root / "making",
                                 layout.root / "leaving", layout.root / "holds"}) {
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (!failure) fs::permissions(folder, fs::perms::owner_all, failure);
    if (failure)
      return Error::failed(ErrorCode::generic,
                           "cannot make the image folder " + folder.string() + ": " + failure.message(),
                           "check images.folder and who may write there");
  }
  return {};
}

Result<StoreRead> read_store(const StoreLayout& layout) {
  StoreRead read;
  std::error_code failure;
  for (const std::string& copy : names_in(layout.root / "ready", failure)) {
    auto found = look_at(layout, copy);
    if (!found) return found.error();
    read.copies.push_back(std::move(*found));
  }
  if (failure) return unreadable(layout.root / "ready", failure);
  for (const std::string& name : names_in(layout.root / "holds", failure)) {
    if (!is_valid_name(name)) {  // half a write
      std::error_code ignored;
      fs::remove(layout.root / "holds" / name, ignored);
      continue;
    }
    const auto copy = posix_host::read_plain_file(layout.hold(ExecutorId(name)).string(), max_small_bytes);
    if (!copy) return copy.error();
    read.holds[ExecutorId(name)] = *copy;
  }
  if (failure) return unreadable(layout.root / "holds", failure);
  return read;
}

std::vector<fs::path> leftovers(const StoreLayout& layout, const std::vector<CatalogueEntry>& catalogue) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const std::string& name : names_in(layout.root / "leaving", ignored))
    found.push_back(layout.leaving(name));
  for (const std::string& name : names_in(layout.root / "making", ignored)) {
    const bool is_named = std::any_of(catalogue.begin(), catalogue.end(),
                                      [&](const CatalogueEntry& entry) { return copy_name(entry) == name; });
    if (!is_named) found.push_back(layout.making(name));
  }
  return found;
}

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code failure;
  for (auto entry = fs::recursive_directory_iterator(folder, failure);
       !failure && entry != fs::recursive_directory_iterator(); entry.increment(failure)) {
    std::error_code ignored;
    if (fs::is_regular_file(entry->symlink_status(ignored))) {
      const auto size = entry->file_size(ignored);
      if (!ignored) bytes += size;
    }
  }
  return bytes;
}

fs::path content_of(const fs::path& copy_folder, Format format) {
  return copy_folder /
         (format == Format::directory_tar ? StoreLayout::tree_folder : StoreLayout::files_folder);
}

}  // namespace skep::agentd::images
