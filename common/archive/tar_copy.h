// Reads a tar (plain, or compressed by gzip, bzip2, xz or zstd) that a stranger may have made, without
// unpacking it: what is in it, and the same again with other heads, piece by piece. By libarchive. Bounded
// memory, whatever the tar holds. Thread-safe for different objects; throws nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/result.h"

namespace skep::archive {

struct TarLimits {
  std::uint64_t max_entries = 100'000;
  std::uint64_t max_text_bytes = 1 << 20;        // of one text
  std::uint64_t max_all_text_bytes = 16u << 20;  // of all texts together
  std::function<bool()> is_cancelled;            // asked at each piece; may be empty
};

struct TarContent {
  std::set<std::string> names;               // of files and links, as clean paths ("a/b" for "./a//b")
  std::map<std::string, std::string> texts;  // by name: whole files that are no longer than max_text_bytes
                                             // and begin with '{' or '['
  std::uint64_t bytes = 0;                   // of all files, unpacked
};

/// Reads it to its end, so a cut or damaged tar is found. invalid_input: no tar, cut, damaged, a name twice;
/// too_large: over a limit; unavailable/try_again: cancelled; generic/try_again: the disk.
Result<TarContent> read_tar(const std::string& file, const TarLimits& limits);

/// The tar `file` as a plain one, with `first` in front and without the files named in `left_out`.
class TarCopy {
 public:
  TarCopy(std::string file, std::map<std::string, std::string> first, std::set<std::string> left_out);
  ~TarCopy();
  TarCopy(const TarCopy&) = delete;
  TarCopy& operator=(const TarCopy&) = delete;
  /// The next piece, at most about 512 KiB; empty at the end. After an error, nothing more.
  Result<std::string> next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::archive
