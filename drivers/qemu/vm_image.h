// What a virtual machine starts from: a folder with a kernel, an initial file system and perhaps a disk, each
// with the SHA-256 that it must have. Pure.
#pragma once

#include <string>
#include <vector>

namespace skep::drivers::qemu {

struct ImageFile {
  std::string name;    // in the image's folder; empty: the image has no such file
  std::string sha256;  // 64 lower-case hex digits
  friend bool operator==(const ImageFile&, const ImageFile&) = default;
};

struct VmImage {
  std::string folder;              // absolute
  ImageFile kernel, initrd, disk;  // disk: qcow2, optional
  std::string command_line;        // of the kernel; nothing secret: the guest and this host's users see it
  friend bool operator==(const VmImage&, const VmImage&) = default;

  std::string path(const ImageFile& file) const { return folder + "/" + file.name; }
  std::vector<ImageFile> files() const;
};

bool is_sha256(const std::string& text);
/// Empty, or what is wrong with the description; for people. Does not look at files.
std::string problem_of(const VmImage& image);

}  // namespace skep::drivers::qemu
