#include "agentd/images/content.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "linux/linux_files.h"

namespace skep::agentd::images {
namespace {

namespace fs = std::filesystem;

Error stopped(const fs::path& path) {
  return Error::try_again(ErrorCode::unavailable, "reading " + path.string() + " was stopped");
}

Error unreadable(const fs::path& path, const std::string& why) {
  return Error::try_again(ErrorCode::generic, "cannot read " + path.string() + ": " + why);
}

Error changed(const fs::path& path, const std::string& what) {
  return Error::failed(ErrorCode::malformed_reply, path.string() + " " + what);
}

Result<void> hash_entry(const fs::directory_entry& entry, const std::string& name, digest::Sha256& digest,
                        const IsCancelled& is_cancelled) {
  std::error_code failure;
  const fs::file_status status = entry.symlink_status(failure);
  if (failure) return unreadable(entry.path(), failure.message());
  const auto head = [&](const char* kind) {
    digest.update(kind + name + '\0' + std::to_string(static_cast<unsigned>(status.permissions())) + '\0');
  };
  if (fs::is_symlink(status)) {
    const fs::path target = fs::read_symlink(entry.path(), failure);
    if (failure) return unreadable(entry.path(), failure.message());
    digest.update("l" + name + '\0' + target.string() + '\0');
  } else if (fs::is_directory(status)) {
    head("d");
  } else if (fs::is_regular_file(status)) {
    head("f");
    digest::Sha256 content;
    const auto bytes =
        digest::hash_file(entry.path(), std::numeric_limits<std::uint64_t>::max(), content, is_cancelled);
    if (!bytes) return bytes.error();
    digest.update(content.hex());
  } else {
    digest.update("?" + name + '\0');
  }
  return {};
}

Result<void> check_content(const fs::path& folder, const Manifest& manifest,
                           const IsCancelled& is_cancelled) {
  if (manifest.format == Format::directory_tar) {
    const fs::path tree = folder / StoreLayout::tree_folder;
    const auto seen = hash_tree(tree, is_cancelled);
    if (!seen) return seen.error();
    if (*seen != manifest.tree_sha256)
      return changed(tree,
                     "is not what was unpacked: its digest is " + *seen + ", not " + manifest.tree_sha256);
    return {};
  }
  for (const ImageFile& file : manifest.files) {
    const fs::path path = folder / StoreLayout::files_folder / file.name;
    std::error_code failure;
    const fs::file_status status = fs::symlink_status(path, failure);
    if (!fs::is_regular_file(status)) return changed(path, "is missing");
    const std::uintmax_t bytes = fs::file_size(path, failure);
    if (failure) return unreadable(path, failure.message());
    if (bytes != file.bytes)
      return changed(path, "has " + std::to_string(bytes) + " bytes, not " + std::to_string(file.bytes));
    digest::Sha256 digest;
    const auto read =
        digest::hash_file(path, std::numeric_limits<std::uint64_t>::max(), digest, is_cancelled);
    if (!read) return read.error();
    if (digest.hex() != file.sha256)
      return changed(path, "has the digest " + digest.hex() + ", not " + file.sha256);
  }
  return {};
}

}  // namespace

Result<std::string> hash_tree(const fs::path& folder, const IsCancelled& is_cancelled) {
  std::error_code failure;
  std::vector<std::pair<std::string, fs::directory_entry>> entries;
  for (auto entry = fs::recursive_directory_iterator(folder, failure);
       !failure && entry != fs::recursive_directory_iterator(); entry.increment(failure))
    entries.emplace_back(entry->path().lexically_relative(folder).generic_string(), *entry);
  if (failure) return unreadable(folder, failure.message());
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  digest::Sha256 digest;
  for (const auto& [name, entry] : entries) {
    if (is_cancelled && is_cancelled()) return stopped(folder);
    if (auto hashed = hash_entry(entry, name, digest, is_cancelled); !hashed) return hashed.error();
  }
  return digest.hex();
}

Result<void> verify_copy(const fs::path& copy_folder, const IsCancelled& is_cancelled) {
  const auto manifest = read_manifest(copy_folder);
  if (!manifest && !says_nothing(manifest.error())) return unreadable(copy_folder, manifest.error().message);
  auto checked = manifest
                     ? check_content(copy_folder, *manifest, is_cancelled)
                     : Result<void>(changed(copy_folder, "has no manifest: " + manifest.error().message));
  if (checked || checked.error().outcome != Outcome::failed) return checked;
  const std::string mark = (copy_folder / StoreLayout::broken_mark).string();
  if (auto marked = posix_host::write_file_durably(mark, checked.error().message + "\n", 0600); !marked) {
    Error error = checked.error();
    error.message += "; and " + marked.error().message;
    return error;
  }
  return checked;
}

}  // namespace skep::agentd::images
