#include "agentd/images/fetch.h"

#include <fstream>

#include "agentd/images/content.h"
#include "common/archive/unpack.h"
#include "common/http/http_types.h"
#include "common/shell/files.h"
#include "linux/linux_files.h"
#include "linux/linux_growing_file.h"

namespace skep::agentd::images {
namespace {

namespace fs = std::filesystem;
using posix_host::GrowingFile;

constexpr std::size_t max_etag_bytes = 1024;

/// Bytes of a plain file; 0 when nothing is there.
std::uint64_t size_of(const fs::path& file) {
  std::error_code failure;
  if (!fs::is_regular_file(fs::symlink_status(file, failure))) return 0;
  const auto size = fs::file_size(file, failure);
  return failure ? 0 : size;
}

void remove_file(const fs::path& file) {
  std::error_code ignored;
  fs::remove(file, ignored);
}

Error disk_error(const fs::path& path, const std::error_code& failure) {
  const bool is_full = failure == std::errc::no_space_on_device;
  return Error::try_again(is_full ? ErrorCode::out_of_resources : ErrorCode::generic,
                          "cannot write " + path.string() + ": " + failure.message());
}

Result<http::DownloadOptions> options_of(const FetchConfig& config) {
  http::DownloadOptions options;
  options.ca_file = config.ca_file;
  options.total_timeout = config.timeout;
  options.min_bytes_per_second = config.min_rate;
  if (config.credentials_file.empty()) return options;
  const auto text = shell::read_secret_file(config.credentials_file);
  if (!text) return text.error();
  const std::size_t colon = text->find(':');
  if (colon == std::string::npos || colon == 0 || text->find('\n') != std::string::npos)
    return Error::failed(ErrorCode::invalid_input,
                         "the credentials file " + config.credentials_file + " is no line user:password");
  options.basic_user = text->substr(0, colon);
  options.basic_password = text->substr(colon + 1);
  return options;
}

/// The part of one file: what there is of it, and where it goes on.
struct Part {
  fs::path file, etag_file;
  std::string etag;
  std::uint64_t bytes = 0;
  digest::Sha256 digest;

  void remove() const {
    remove_file(file);
    remove_file(etag_file);
  }
};

Result<Part> open_part(const fs::path& folder, const ImageFile& file, const IsCancelled& is_cancelled) {
  Part part;
  part.file = folder / (file.name + ".part");
  part.etag_file = folder / (file.name + ".etag");
  if (const auto etag = posix_host::read_plain_file(part.etag_file.string(), max_etag_bytes))
    part.etag = *etag;
  const std::uint64_t size = size_of(part.file);
  const bool is_usable = size > 0 && size <= file.bytes && (!part.etag.empty() || size == file.bytes);
  if (!is_usable) {
    part.remove();
    part.etag.clear();
    return part;
  }
  const auto hashed = digest::hash_file(part.file, size, part.digest, is_cancelled);
  if (!hashed) return hashed.error();
  part.bytes = *hashed;
  return part;
}

}  // namespace

Fetch::Fetch(StoreLayout layout, FetchConfig config, CatalogueEntry entry,
             std::function<void(const Progress&)> on_progress)
    : layout_(std::move(layout)),
      config_(std::move(config)),
      entry_(std::move(entry)),
      on_progress_(std::move(on_progress)) {}

void Fetch::cancel() {
  is_cancelled_ = true;
  const std::lock_guard<std::mutex> guard(lock_);
  if (download_) download_->cancel();
}

std::uint64_t Fetch::part_bytes() const {
  return bytes_below(making());
}

void Fetch::report(std::uint64_t received) {
  if (on_progress_) on_progress_({done_before_ + done_now_, received});
}

Result<void> Fetch::prepare() {
  // Of a try that ended while it unpacked.
  if (auto removed = posix_host::remove_tree((making() / StoreLayout::tree_folder).string()); !removed)
    return removed;
  std::error_code failure;
  fs::create_directories(files(), failure);
  if (failure) return disk_error(files(), failure);
  const std::uint64_t there = part_bytes();
  const std::uint64_t needed = bytes_of(entry_) - std::min(bytes_of(entry_), there);
  const auto space = fs::space(layout_.root, failure);
  if (!failure && space.available < needed)
    return Error::try_again(ErrorCode::out_of_resources,
                            "the disk of " + layout_.root.string() + " has " +
                                std::to_string(space.available) + " bytes left, " + std::to_string(needed) +
                                " are needed",
                            "make room on that disk");
  auto options = options_of(config_);
  if (!options) return options.error();
  const std::lock_guard<std::mutex> guard(lock_);
  download_ = std::make_unique<http::Download>(std::move(*options));
  if (is_cancelled_) download_->cancel();
  return {};
}

Result<std::uint64_t> Fetch::run() {
  const auto attempt = [this]() -> Result<std::uint64_t> {
    if (auto prepared = prepare(); !prepared) return prepared.error();
    for (const ImageFile& file : entry_.files) {
      done_now_ = 0;
      if (auto fetched = fetch_file(file); !fetched) return fetched.error();
      done_before_ += file.bytes;
    }
    auto manifest = finish_content();
    if (!manifest) return manifest.error();
    const std::string text = encode(*manifest);
    const std::string file = (making() / StoreLayout::manifest_file).string();
    if (auto written = posix_host::write_file_durably(file, text, 0444); !written) return written.error();
    if (auto synced = posix_host::sync_file_system(making().string()); !synced) return synced.error();
    const std::string ready = layout_.ready(copy_name(entry_)).string();
    if (auto renamed = posix_host::rename_without_replacing(making().string(), ready); !renamed)
      return renamed.error();
    return manifest->bytes;
  };
  auto result = attempt();
  if (result) return result;
  Error error = result.error();
  if (error.code == ErrorCode::out_of_resources) {  // a part must not keep the disk full
    if (auto removed = posix_host::remove_tree(making().string()); !removed)
      error.message += "; and " + removed.error().message;
  }
  return error;
}

Result<void> Fetch::fetch_file(const ImageFile& file) {
  const fs::path whole = files() / file.name;
  const auto is_cancelled = [this] { return is_cancelled_.load(); };
  if (size_of(whole) == file.bytes) {
    digest::Sha256 digest;
    const auto hashed = digest::hash_file(whole, file.bytes, digest, is_cancelled);
    if (!hashed) return hashed.error();
    if (digest.hex() == file.sha256) {
      done_now_ = file.bytes;
      report(0);
      return {};
    }
  }
  remove_file(whole);
  // A part of an earlier try may be of another file, or spoilt: then once more, from the beginning.
  for (const bool is_last_try : {false, true}) {
    const auto fetched = fetch_part(file, is_last_try);
    if (!fetched) return fetched.error();
    if (*fetched) break;
  }
  return {};
}

Result<bool> Fetch::fetch_part(const ImageFile& file, bool is_last_try) {
  auto opened = open_part(files(), file, [this] { return is_cancelled_.load(); });
  if (!opened) return opened.error();
  Part& part = *opened;
  bool is_resumed = part.bytes > 0;
  auto out = GrowingFile::open(part.file.string());
  if (!out) return out.error();
  done_now_ = part.bytes;
  report(0);
  if (part.bytes < file.bytes || file.bytes == 0) {
    http::DownloadRequest request{entry_.url + http::percent_encode(file.name), part.bytes, part.etag,
                                  file.bytes};
    const auto on_head = [&](const http::DownloadHead& head) -> Result<void> {
      if (head.total && *head.total != file.bytes)
        return Error::failed(ErrorCode::malformed_reply, request.url + " has " + std::to_string(*head.total) +
                                                             " bytes, the catalogue says " +
                                                             std::to_string(file.bytes));
      if (head.offset == part.bytes && part.bytes > 0) return {};
      is_resumed = false;
      part.digest = digest::Sha256();
      part.bytes = done_now_ = 0;
      if (auto emptied = out->empty(); !emptied) return emptied;
      if (head.etag.empty()) {
        remove_file(part.etag_file);
        return {};
      }
      return posix_host::write_file_atomically(part.etag_file.string(), head.etag, 0600);
    };
    const auto on_bytes = [&](std::string_view bytes) -> Result<void> {
      if (auto appended = out->append(bytes); !appended) return appended;
      part.digest.update(bytes);
      part.bytes += bytes.size();
      done_now_ = part.bytes;
      report(bytes.size());
      return {};
    };
    if (auto got = download_->get(request, on_head, on_bytes); !got) {
      const Error& error = got.error();
      if (error.code == ErrorCode::too_large || error.code == ErrorCode::malformed_reply) part.remove();
      if (part.bytes == 0) part.remove();
      return error;
    }
  }
  if (part.bytes == file.bytes && part.digest.hex() == file.sha256) {
    if (auto finished = out->finish(); !finished) return finished.error();
    remove_file(part.etag_file);
    std::error_code failure;
    fs::rename(part.file, files() / file.name, failure);
    if (failure) return disk_error(part.file, failure);
    return true;
  }
  part.remove();
  if (is_resumed && !is_last_try) return false;
  if (part.bytes != file.bytes)
    return Error::failed(ErrorCode::malformed_reply,
                         entry_.url + file.name + " has " + std::to_string(part.bytes) +
                             " bytes, the catalogue says " + std::to_string(file.bytes));
  return Error::failed(
      ErrorCode::malformed_reply,
      entry_.url + file.name + " has the digest " + part.digest.hex() + ", the catalogue says " + file.sha256,
      "it is not the file that the catalogue means, or was damaged on its way");
}

Result<Manifest> Fetch::finish_content() {
  Manifest manifest;
  manifest.name = entry_.name;
  manifest.version = entry_.version;
  manifest.format = entry_.format;
  manifest.files = entry_.files;
  manifest.bytes = bytes_of(entry_);
  if (entry_.format != Format::directory_tar) return manifest;
  const auto is_cancelled = [this] { return is_cancelled_.load(); };
  const fs::path tree = making() / StoreLayout::tree_folder;
  archive::UnpackLimits limits;
  limits.max_bytes = entry_.unpacked_bytes;
  limits.is_cancelled = is_cancelled;
  const auto unpacked =
      archive::unpack_tar((files() / entry_.files.front().name).string(), tree.string(), limits);
  if (!unpacked) {
    // The tar itself is proven and stays, so that the next try costs no more than this.
    if (auto removed = posix_host::remove_tree(tree.string()); !removed) return removed.error();
    return unpacked.error();
  }
  const auto tree_sha256 = hash_tree(tree, is_cancelled);
  if (!tree_sha256) return tree_sha256.error();
  manifest.tree_sha256 = *tree_sha256;
  manifest.bytes = unpacked->bytes;
  if (auto removed = posix_host::remove_tree(files().string()); !removed) return removed.error();
  return manifest;
}

}  // namespace skep::agentd::images
