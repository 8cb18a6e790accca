#include "common/archive/unpack.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

namespace skep::archive {
namespace {

namespace fs = std::filesystem;

struct FreeRead {
  void operator()(struct ::archive* a) const { archive_read_free(a); }
};
struct FreeWrite {
  void operator()(struct ::archive* a) const { archive_write_free(a); }
};
using Reader = std::unique_ptr<struct ::archive, FreeRead>;
using Writer = std::unique_ptr<struct ::archive, FreeWrite>;

constexpr std::size_t block_bytes = 256 * 1024;

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.push_back(part);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  return parts;
}

Error bad(const std::string& file, const std::string& what) {
  return Error::failed(ErrorCode::invalid_input, file + " cannot be unpacked: " + what,
                       "make the tar again, without what is named here");
}

/// A name from outside, fit for a message.
std::string shown(std::string_view name) {
  std::string text(name.substr(0, 200));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
      '?');
  return "\"" + text + "\"";
}

Error disk_error(const std::string& what, int code, const std::string& detail) {
  const std::string message = "cannot unpack " + what + ": " + detail;
  if (code == ENOSPC || code == EDQUOT)
    return Error::try_again(ErrorCode::out_of_resources, message, "make room on that disk");
  return Error::try_again(ErrorCode::generic, message);
}

class Unpacking {
 public:
  Unpacking(const std::string& file, fs::path top, const UnpackLimits& limits)
      : file_(file),
        top_(std::move(top)),
        limits_(limits),
        in_(archive_read_new()),
        out_(archive_write_disk_new()) {}

  Result<Unpacked> run() {
    archive_read_support_format_tar(in_.get());
    archive_read_support_filter_gzip(in_.get());
    archive_read_support_filter_bzip2(in_.get());
    archive_read_support_filter_xz(in_.get());
    archive_read_support_filter_zstd(in_.get());
    // Links come last and by us, so no path can run through one; the flags hold even if that were wrong.
    archive_write_disk_set_options(out_.get(), ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM |
                                                   ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                                   ARCHIVE_EXTRACT_SECURE_NODOTDOT);
    if (archive_read_open_filename(in_.get(), file_.c_str(), block_bytes) != ARCHIVE_OK)
      return bad(file_, read_problem());
    for (;;) {
      archive_entry* entry = nullptr;
      const int got = archive_read_next_header(in_.get(), &entry);
      if (got == ARCHIVE_EOF) break;
      if (got != ARCHIVE_OK) return bad(file_, read_problem());
      if (auto taken = take(entry); !taken) return taken.error();
    }
    if (archive_write_close(out_.get()) != ARCHIVE_OK) return write_error("the folders");
    if (seen_.entries == 0) return bad(file_, "it holds nothing");
    if (auto linked = make_links(); !linked) return linked.error();
    return seen_;
  }

 private:
  std::string read_problem() const {
    const char* text = archive_error_string(in_.get());
    return text == nullptr ? "it is damaged" : text;
  }
  Error write_error(const std::string& name) const {
    const char* text = archive_error_string(out_.get());
    return disk_error(name, archive_errno(out_.get()), text == nullptr ? "it cannot be written" : text);
  }

  Result<void> take(archive_entry* entry) {
    const char* raw = archive_entry_pathname(entry);
    const std::string name = raw == nullptr ? "" : raw;
    if (limits_.is_cancelled && limits_.is_cancelled())
      return Error::try_again(ErrorCode::unavailable, "unpacking " + file_ + " was stopped");
    if (++seen_.entries > limits_.max_entries)
      return Error::failed(ErrorCode::too_large,
                           file_ + " holds more than " + std::to_string(limits_.max_entries) + " entries");
    const EntryPath path = clean_path(name);
    if (!path.is_inside) return bad(file_, "the path " + shown(name) + " leads out of its folder");
    if (path.text.empty()) return {};  // the top has the mode that we gave it
    const auto type = archive_entry_filetype(entry);
    const char* hard = archive_entry_hardlink(entry);
    if (hard == nullptr && type == AE_IFLNK) return note_link(entry, path.text);
    if (hard == nullptr && type != AE_IFREG && type != AE_IFDIR)
      return bad(file_, shown(name) + " is no file, folder or link");
    if (hard != nullptr) {
      const EntryPath target = clean_path(hard);
      if (!target.is_inside || target.text.empty())
        return bad(file_, "the link " + shown(name) + " leads out of its folder");
      archive_entry_set_hardlink(entry, (top_ / target.text).c_str());
    }
    // We must be able to read and remove what we made.
    archive_entry_set_perm(entry, (archive_entry_perm(entry) & 0777) | (type == AE_IFDIR ? 0700u : 0400u));
    archive_entry_set_pathname(entry, (top_ / path.text).c_str());
    if (archive_write_header(out_.get(), entry) != ARCHIVE_OK) {
      if (hard != nullptr) return bad(file_, "the link " + shown(name) + " has no target before it");
      return write_error(shown(name));
    }
    if (auto copied = copy_data(name); !copied) return copied;
    return archive_write_finish_entry(out_.get()) == ARCHIVE_OK ? Result<void>() : write_error(shown(name));
  }

  Result<void> copy_data(const std::string& name) {
    for (;;) {
      const void* data = nullptr;
      std::size_t size = 0;
      la_int64_t offset = 0;
      const int got = archive_read_data_block(in_.get(), &data, &size, &offset);
      if (got == ARCHIVE_EOF) return {};
      if (got != ARCHIVE_OK) return bad(file_, read_problem());
      seen_.bytes += size;
      // A hole costs no disk, but what copies the file may fill it.
      const std::uint64_t end = static_cast<std::uint64_t>(std::max<la_int64_t>(offset, 0)) + size;
      if (seen_.bytes > limits_.max_bytes || end > limits_.max_bytes)
        return Error::failed(ErrorCode::too_large,
                             file_ + " unpacks to more than " + std::to_string(limits_.max_bytes) + " bytes",
                             "raise unpacked_bytes of this image");
      if (limits_.is_cancelled && limits_.is_cancelled())
        return Error::try_again(ErrorCode::unavailable, "unpacking " + file_ + " was stopped");
      if (archive_write_data_block(out_.get(), data, size, offset) < ARCHIVE_OK)
        return write_error(shown(name));
    }
  }

  Result<void> note_link(archive_entry* entry, const std::string& path) {
    const char* raw = archive_entry_symlink(entry);
    const std::string target = raw == nullptr ? "" : raw;
    const std::string folder = fs::path(path).parent_path().string();
    if (!is_link_inside(folder, target))
      return bad(file_, "the link " + shown(path) + " to " + shown(target) + " leads out of its folder");
    std::error_code failure;
    fs::create_directories((top_ / path).parent_path(), failure);
    if (failure) return disk_error(shown(path), failure.value(), failure.message());
    links_.emplace_back(path, target);  // its folder is a real one now, so no link can take that place
    return {};
  }

  Result<void> make_links() const {
    for (const auto& [path, target] : links_) {
      std::error_code failure;
      fs::create_symlink(target, top_ / path, failure);
      if (failure == std::errc::file_exists || failure == std::errc::not_a_directory)
        return bad(file_, "it has both a link and something else at " + shown(path));
      if (failure) return disk_error(shown(path), failure.value(), failure.message());
    }
    return {};
  }

  std::string file_;
  fs::path top_;
  const UnpackLimits& limits_;
  Reader in_;
  Writer out_;
  Unpacked seen_;
  std::vector<std::pair<std::string, std::string>> links_;  // path and target
};

}  // namespace

EntryPath clean_path(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\0') != std::string_view::npos) return {};
  EntryPath out{true, {}};
  for (const std::string_view part : parts_of(path)) {
    if (part == "..") return {};
    if (!out.text.empty()) out.text += '/';
    out.text += part;
  }
  return out;
}

bool is_link_inside(std::string_view folder, std::string_view target) {
  if (target.empty() || target.front() == '/' || target.find('\0') != std::string_view::npos) return false;
  const std::size_t depth = parts_of(folder).size();
  std::size_t ups = 0;
  bool has_gone_down = false;
  for (const std::string_view part : parts_of(target)) {
    if (part != "..") {
      has_gone_down = true;
    } else if (has_gone_down || ++ups > depth) {
      return false;
    }
  }
  return true;
}

Result<Unpacked> unpack_tar(const std::string& file, const std::string& into, const UnpackLimits& limits) {
  try {
    std::error_code failure;
    const fs::path parent = fs::canonical(fs::path(into).parent_path(), failure);
    if (failure) return disk_error(into, failure.value(), failure.message());
    const fs::path top = parent / fs::path(into).filename();
    if (!fs::create_directory(top, failure))
      return failure ? disk_error(into, failure.value(), failure.message())
                     : Error::failed(ErrorCode::conflict, into + " exists already");
    return Unpacking(file, top, limits).run();
  } catch (const std::exception& e) {
    return Error::try_again(ErrorCode::out_of_resources, "cannot unpack " + file + ": " + e.what());
  }
}

}  // namespace skep::archive
