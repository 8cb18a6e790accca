#include "drivers/qemu/vm_manifest.h"

#include "common/json/json.h"

namespace skep::drivers::qemu {
namespace {

Error broken(const std::string& why) {
  return Error::failed(ErrorCode::malformed_reply, std::string(manifest_file) + ": " + why,
                       "an object with kernel, initrd and perhaps disk and command_line");
}

}  // namespace

Result<VmImage> read_manifest(const std::string& text, const std::string& folder,
                              const std::map<std::string, std::string>& sha256_by_name) {
  if (text.size() > max_manifest_bytes) return broken("too long");
  const auto parsed = json::parse_strict(text);
  if (!parsed) return broken(parsed.error().message);
  if (!parsed->is_object()) return broken("no object");
  VmImage image;
  image.folder = folder;
  for (const auto& [key, value] : parsed->items()) {
    if (!value.is_string()) return broken("\"" + key + "\" is no text");
    const auto words = value.get<std::string>();
    if (key == "kernel") {
      image.kernel.name = words;
    } else if (key == "initrd") {
      image.initrd.name = words;
    } else if (key == "disk") {
      if (words.empty()) return broken("\"disk\" is empty");
      image.disk.name = words;
    } else if (key == "command_line") {
      image.command_line = words;
    } else {
      return broken("\"" + key + "\" is not known");
    }
  }
  for (ImageFile* file : {&image.kernel, &image.initrd, &image.disk}) {
    if (file == &image.disk && file->name.empty()) continue;
    if (file->name.empty()) return broken("kernel and initrd must be named");
    const auto found = sha256_by_name.find(file->name);
    if (found == sha256_by_name.end())
      return Error::failed(ErrorCode::not_found,
                           std::string(manifest_file) + " names \"" + file->name.substr(0, 120) +
                               "\", which is not one of the image's files",
                           "list it under files in the catalogue");
    file->sha256 = found->second;
  }
  if (const std::string problem = problem_of(image); !problem.empty()) return broken(problem);
  return image;
}

}  // namespace skep::drivers::qemu
