#include "drivers/qemu/vm_image.h"

#include <algorithm>

namespace skep::drivers::qemu {
namespace {

constexpr std::size_t max_command_line = 1500;  // the kernel takes 2048 on x86

bool is_file_name(const std::string& name) {
  return !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '+';
  });
}

}  // namespace

std::vector<ImageFile> VmImage::files() const {
  std::vector<ImageFile> all{kernel, initrd};
  if (!disk.name.empty()) all.push_back(disk);
  return all;
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string problem_of(const VmImage& image) {
  if (image.folder.empty() || image.folder.front() != '/')
    return "\"" + image.folder + "\" is no absolute path of a folder";
  for (const ImageFile& file : image.files()) {
    if (!is_file_name(file.name)) return "\"" + file.name + "\" is no name of a file in the image's folder";
    if (!is_sha256(file.sha256)) return file.name + ": \"" + file.sha256 + "\" is no SHA-256 (64 hex digits)";
  }
  const bool is_plain = std::all_of(image.command_line.begin(), image.command_line.end(),
                                    [](char c) { return c >= ' ' && c <= '~'; });
  if (!is_plain || image.command_line.size() > max_command_line)
    return "the kernel's command line is not at most 1500 printable characters";
  return "";
}

}  // namespace skep::drivers::qemu
