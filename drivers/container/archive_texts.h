// What an image archive says of itself: manifest.json of `docker save` and Podman's docker-archive, or
// index.json of an OCI layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md). The
// ID that an engine gives to an image is the digest of its configuration
// (https://github.com/moby/moby/blob/v20.10.24/image/spec/v1.2.md), so it is known beforehand. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace skep::drivers::container {

/// The files of an archive, and the content of those that are texts, by name.
struct ArchiveContent {
  std::set<std::string> names;
  std::map<std::string, std::string> texts;
};

struct ImageArchive {
  std::string configuration;  // name of a file in the archive; the image's ID is its SHA-256
  std::vector<std::string> layers;
  std::string architecture, os;  // as Go names them: amd64, linux
};

/// invalid_input: no archive of exactly one image, or not whole; the message says which.
Result<ImageArchive> read_archive(const ArchiveContent& content);

/// Names that an archive that is given to an engine must not carry: what would give the image other names
/// than ours, which may be those of other people's images.
std::set<std::string> names_to_leave_out();
/// The manifest.json instead of them: the same image under `tag` alone.
std::string manifest_of(const ImageArchive& archive, const std::string& tag);

/// Whether an engine of this kind can run it; an empty `architecture` of the engine: it does not say.
Result<void> check_platform(const ImageArchive& archive, const std::string& engine_architecture,
                            const std::string& engine_os);

}  // namespace skep::drivers::container
