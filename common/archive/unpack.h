// Unpacks a tar (plain, or compressed by gzip, bzip2, xz or zstd) that a stranger may have made, into a
// folder of its own. By libarchive. Thread-safe for different folders; throws nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace skep::archive {

struct UnpackLimits {
  std::uint64_t max_bytes = 0;  // of all files together, however small the archive is
  std::uint64_t max_entries = 500'000;
  std::function<bool()> is_cancelled;  // asked at each piece; may be empty
};

struct Unpacked {
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

/// `into` is made and must not exist. Files, folders, hard links to files of the same tar and symbolic links
/// that stay inside are taken; times and the lower nine bits of modes are kept (we may always read), owners
/// are not. Everything else is an error that names the entry:
///   invalid_input   no tar, cut, damaged; a path or link that leads out; a device, pipe or socket
///   too_large       over a limit
///   out_of_resources, generic (try_again)   the disk
/// On an error part of the tree is there.
Result<Unpacked> unpack_tar(const std::string& file, const std::string& into, const UnpackLimits& limits);

/// "a/b" for "./a//b/"; "" for the top itself; `is_inside` false for what is absolute, has "..", or is empty.
struct EntryPath {
  bool is_inside = false;
  std::string text;
};
EntryPath clean_path(std::string_view path);

/// Whether a symbolic link in the folder `folder` (a clean path) cannot lead out: relative, with ".." only in
/// front, and no more of them than `folder` is deep. So it holds too when it runs through other such links.
bool is_link_inside(std::string_view folder, std::string_view target);

}  // namespace skep::archive
