// The image store on disk: where things are, what a manifest says, and what is found at a start.
// docs/design/images.md tells why. Thread-safe: no state.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "agentd/core/images/image_logic.h"

namespace skep::agentd::images {

/// manifest.json: written once, when the copy is whole.
struct Manifest {
  std::string name, version;
  Format format = Format::directory_tar;
  std::vector<ImageFile> files;
  std::string tree_sha256;  // directory_tar: of what was unpacked
  std::uint64_t bytes = 0;  // on disk
};

/// state.json: what changes, and may be lost.
struct CopyTimes {
  WallTime used_at, verified_at;
};

struct StoreLayout {
  std::filesystem::path root;

  std::filesystem::path ready(const std::string& copy) const { return root / "ready" / copy; }
  std::filesystem::path making(const std::string& copy) const { return root / "making" / copy; }
  std::filesystem::path leaving(const std::string& copy) const { return root / "leaving" / copy; }
  std::filesystem::path hold(const ExecutorId& executor) const { return root / "holds" / executor.text; }
  std::filesystem::path lock() const { return root / "lock"; }

  static constexpr const char* manifest_file = "manifest.json";
  static constexpr const char* state_file = "state.json";
  static constexpr const char* broken_mark = "broken";
  static constexpr const char* files_folder = "files";
  static constexpr const char* tree_folder = "tree";
};

/// Of format and files: what makes two copies the same. 64 hex digits.
std::string digest_of(Format format, const std::vector<ImageFile>& files);

std::string encode(const Manifest& manifest);
Result<Manifest> decode_manifest(const std::string& text);
Result<Manifest> read_manifest(const std::filesystem::path& copy_folder);
/// Of read_manifest(): there is none that can be used. Otherwise the system would not let us look.
bool says_nothing(const Error& error);

/// A failure is no more than an earlier check: nothing is told.
void write_times(const std::filesystem::path& copy_folder, const CopyTimes& times);
CopyTimes read_times(const std::filesystem::path& copy_folder);

Result<void> make_folders(const StoreLayout& layout);
/// What is in `ready` and `holds`; what a kill left half written in the latter is removed. A copy that is not
/// what its manifest says (sizes and names only) is told as broken; content is for verify_copy().
Result<StoreRead> read_store(const StoreLayout& layout);
/// Folders that no run goes on with: all of `leaving`, and of `making` what the catalogue does not name.
std::vector<std::filesystem::path> leftovers(const StoreLayout& layout,
                                             const std::vector<CatalogueEntry>& catalogue);
/// Bytes of the files below a folder; 0 when it is not there.
std::uint64_t bytes_below(const std::filesystem::path& folder);

/// One that shows an image's folder to a driver.
std::filesystem::path content_of(const std::filesystem::path& copy_folder, Format format);

}  // namespace skep::agentd::images
