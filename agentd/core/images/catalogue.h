// The images that a host's configuration lists, and how they are called. Values; read and checked by
// agentd/shell/config_file. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace skep::agentd::images {

enum class Format {
  directory_tar,  // one tar, perhaps compressed; executors get a folder with what was in it
  vm,             // files as they are: disks, kernels; executors get the folder that holds them
  container,      // one archive, as `docker save` writes it; the driver loads it into its engine
};
inline constexpr std::array all_formats{Format::directory_tar, Format::vm, Format::container};
std::string_view to_string(Format format);
/// Of a text that is none: directory_tar.
Format format_of(std::string_view text);

struct ImageFile {
  std::string name;    // in the image's folder and behind its url; a single plain name
  std::string sha256;  // 64 lower-case hex digits
  std::uint64_t bytes = 0;
};

struct CatalogueEntry {
  std::string name;     // [a-z0-9-]
  std::string version;  // [A-Za-z0-9._-], no dot in front
  std::string channel = "stable";
  Format format = Format::directory_tar;
  std::string url;  // of the folder that holds the files; ends with a slash
  std::vector<ImageFile> files;
  std::uint64_t unpacked_bytes = 0;  // directory_tar: the most that it may unpack to
  bool is_prefetched = true;         // else fetched when an operator pulls it
  std::string digest;                // of all that a copy must hold, 64 hex digits; by the store
};

struct FetchConfig {
  Duration timeout = hours(4);                         // of one file
  std::int64_t min_rate = 16 * 1024;                   // bytes a second on average over ten seconds
  std::uint64_t max_bytes = std::uint64_t{256} << 30;  // of one image; checked with the configuration
  std::string ca_file;
  std::string credentials_file;  // 0600, one line: user:password
  int parallel = 2;
};

struct ImagesConfig {
  bool is_enabled = false;
  std::string folder;  // empty: <state_dir>/images
  std::uint64_t max_bytes = std::uint64_t{64} << 30;
  FetchConfig fetch;
  Duration verify_every = hours(24);  // zero: never by itself
  std::vector<CatalogueEntry> catalogue;
};

/// "base@2"
std::string full_name(const CatalogueEntry& entry);
/// What a copy is called on disk and in the logic: "base@2-1f2d3c4b5a69".
std::string copy_name(const CatalogueEntry& entry);
std::uint64_t bytes_of(const CatalogueEntry& entry);
/// What a copy may take of the disk, and what it may take while it is made.
std::uint64_t kept_bytes_of(const CatalogueEntry& entry);
std::uint64_t room_of(const CatalogueEntry& entry);
/// max_bytes must hold this: all that is fetched by itself, and the largest of them while it is made.
std::uint64_t least_max_bytes(const ImagesConfig& config);

/// The entry that "base@2" or "base" means: the latter is its version in channel "stable", or its only one.
/// nullptr: none, or more than one.
const CatalogueEntry* find(const std::vector<CatalogueEntry>& catalogue, std::string_view reference);
/// How executors may ask for it: its full name, and its bare name when that means it.
std::vector<std::string> references_of(const std::vector<CatalogueEntry>& catalogue,
                                       const CatalogueEntry& entry);

bool is_valid_version(std::string_view text);
bool is_valid_file_name(std::string_view text);

}  // namespace skep::agentd::images
