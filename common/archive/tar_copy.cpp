#include "common/archive/tar_copy.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <utility>

#include "common/archive/unpack.h"

namespace skep::archive {
namespace tar_detail {

struct EndTarRead {
  void operator()(struct ::archive* a) const { archive_read_free(a); }
};
struct EndTarWrite {
  void operator()(struct ::archive* a) const { archive_write_free(a); }
};
struct EndTarEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using TarReader = std::unique_ptr<struct ::archive, EndTarRead>;
using TarWriter = std::unique_ptr<struct ::archive, EndTarWrite>;
using TarEntry = std::unique_ptr<archive_entry, EndTarEntry>;

constexpr std::size_t read_bytes = 256 * 1024;

/// One file of a tar after the other. Errors name the tar.
class TarWalk {
 public:
  explicit TarWalk(std::string file) : file_(std::move(file)), in_(archive_read_new()) {}

  Result<void> open() {
    archive_read_support_format_tar(in_.get());
    archive_read_support_filter_gzip(in_.get());
    archive_read_support_filter_bzip2(in_.get());
    archive_read_support_filter_xz(in_.get());
    archive_read_support_filter_zstd(in_.get());
    if (archive_read_open_filename(in_.get(), file_.c_str(), read_bytes) != ARCHIVE_OK) return damaged();
    return {};
  }

  /// nullptr: that was all.
  Result<archive_entry*> next_entry() {
    archive_entry* entry = nullptr;
    const int got = archive_read_next_header(in_.get(), &entry);
    if (got == ARCHIVE_EOF) return static_cast<archive_entry*>(nullptr);
    if (got != ARCHIVE_OK) return damaged();
    const char* raw = archive_entry_pathname(entry);
    const EntryPath path = clean_path(raw == nullptr ? "" : raw);
    if (!path.is_inside) return bad("a path leads out of it");
    name_ = path.text;
    return entry;
  }
  const std::string& name() const { return name_; }

  /// False: no more of this file. Holes of a sparse file are refused: no engine writes them.
  Result<bool> next_block(std::string_view& block) {
    const void* data = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int got = archive_read_data_block(in_.get(), &data, &size, &offset);
    if (got == ARCHIVE_EOF) return false;
    if (got != ARCHIVE_OK) return damaged();
    block = {static_cast<const char*>(data), size};
    return true;
  }

  Error bad(const std::string& what) const {
    return Error::failed(ErrorCode::invalid_input, file_ + " cannot be read as an archive: " + what);
  }
  Error damaged() const {
    const char* text = archive_error_string(in_.get());
    return bad(text == nullptr ? "it is damaged" : text);
  }

 private:
  std::string file_;
  TarReader in_;
  std::string name_;
};

inline bool is_text_begin(std::string_view text) {
  return !text.empty() && (text.front() == '{' || text.front() == '[');
}

}  // namespace tar_detail

using tar_detail::is_text_begin;
using tar_detail::read_bytes;
using tar_detail::TarEntry;
using tar_detail::TarReader;
using tar_detail::TarWalk;
using tar_detail::TarWriter;

Result<TarContent> read_tar(const std::string& file, const TarLimits& limits) {
  TarWalk walk(file);
  if (auto opened = walk.open(); !opened) return opened.error();
  TarContent content;
  std::uint64_t entries = 0, text_bytes = 0;
  for (;;) {
    const auto entry = walk.next_entry();
    if (!entry) return entry.error();
    if (*entry == nullptr) break;
    if (++entries > limits.max_entries)
      return Error::failed(ErrorCode::too_large,
                           file + " holds more than " + std::to_string(limits.max_entries) + " entries");
    if (archive_entry_hardlink(*entry) == nullptr && archive_entry_filetype(*entry) == AE_IFDIR) continue;
    if (!content.names.insert(walk.name()).second)
      return walk.bad("\"" + walk.name().substr(0, 200) + "\" is in it twice");
    std::string text;
    bool is_text = true;
    for (std::string_view block;;) {
      const auto more = walk.next_block(block);
      if (!more) return more.error();
      if (!*more) break;
      if (limits.is_cancelled && limits.is_cancelled())
        return Error::try_again(ErrorCode::unavailable, "reading " + file + " was stopped");
      content.bytes += block.size();
      is_text = is_text && (!text.empty() || is_text_begin(block)) &&
                text.size() + block.size() <= limits.max_text_bytes;
      if (is_text) text += block;
    }
    if (!is_text || text.empty()) continue;
    text_bytes += text.size();
    if (text_bytes > limits.max_all_text_bytes)
      return Error::failed(
          ErrorCode::too_large,
          file + " holds more than " + std::to_string(limits.max_all_text_bytes) + " bytes of descriptions");
    content.texts[walk.name()] = std::move(text);
  }
  if (content.names.empty()) return walk.bad("it holds nothing");
  return content;
}

struct TarCopy::Impl {
  Impl(std::string file, std::map<std::string, std::string> f, std::set<std::string> l)
      : walk(std::move(file)), first(std::move(f)), left_out(std::move(l)), writer(archive_write_new()) {}

  static la_ssize_t take(struct ::archive*, void* self, const void* data, std::size_t size) {
    static_cast<Impl*>(self)->piece.append(static_cast<const char*>(data), size);
    return static_cast<la_ssize_t>(size);
  }

  Error unwritable() const {
    const char* text = archive_error_string(writer.get());
    return walk.bad(text == nullptr ? "it cannot be copied" : text);
  }

  Result<void> begin() {
    if (auto opened = walk.open(); !opened) return opened;
    // Pax where a name or size needs it, as engines write themselves.
    archive_write_set_format_pax_restricted(writer.get());
    archive_write_set_bytes_per_block(writer.get(), 0);
    if (archive_write_open(writer.get(), this, nullptr, &Impl::take, nullptr) != ARCHIVE_OK)
      return unwritable();
    for (const auto& [name, text] : first) {
      const TarEntry entry(archive_entry_new());
      archive_entry_set_pathname(entry.get(), name.c_str());
      archive_entry_set_filetype(entry.get(), AE_IFREG);
      archive_entry_set_perm(entry.get(), 0644);
      archive_entry_set_mtime(entry.get(), 0, 0);
      archive_entry_set_size(entry.get(), static_cast<la_int64_t>(text.size()));
      if (archive_write_header(writer.get(), entry.get()) != ARCHIVE_OK ||
          archive_write_data(writer.get(), text.data(), text.size()) != static_cast<la_ssize_t>(text.size()))
        return unwritable();
    }
    return {};
  }

  /// One step; something may be in `piece` then.
  Result<void> step() {
    if (!is_begun) {
      is_begun = true;
      return begin();
    }
    if (is_in_file) {
      std::string_view block;
      const auto more = walk.next_block(block);
      if (!more) return more.error();
      is_in_file = *more;
      if (*more && archive_write_data(writer.get(), block.data(), block.size()) !=
                       static_cast<la_ssize_t>(block.size()))
        return unwritable();
      return {};
    }
    const auto entry = walk.next_entry();
    if (!entry) return entry.error();
    if (*entry == nullptr) {
      is_over = true;
      return archive_write_close(writer.get()) == ARCHIVE_OK ? Result<void>() : unwritable();
    }
    if (left_out.count(walk.name()) > 0) return {};
    archive_entry_set_pathname(*entry, walk.name().c_str());
    if (archive_entry_sparse_count(*entry) > 0) return walk.bad("a file in it has holes");
    if (walk.name().empty()) return {};  // the top
    if (archive_write_header(writer.get(), *entry) < ARCHIVE_WARN) return unwritable();
    is_in_file = archive_entry_size(*entry) > 0;
    return {};
  }

  TarWalk walk;
  std::map<std::string, std::string> first;
  std::set<std::string> left_out;
  std::string piece;
  bool is_begun = false, is_in_file = false, is_over = false;
  TarWriter writer;  // last: it writes to the others as it ends
};

TarCopy::TarCopy(std::string file, std::map<std::string, std::string> first, std::set<std::string> left_out)
    : impl_(std::make_unique<Impl>(std::move(file), std::move(first), std::move(left_out))) {}
TarCopy::~TarCopy() = default;

Result<std::string> TarCopy::next() {
  while (impl_->piece.size() < read_bytes && !impl_->is_over) {
    if (auto done = impl_->step(); !done) {
      impl_->is_over = true;
      impl_->piece.clear();
      return done.error();
    }
  }
  return std::exchange(impl_->piece, {});
}

}  // namespace skep::archive
