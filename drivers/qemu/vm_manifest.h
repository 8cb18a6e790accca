// What is what in an image of the host's catalogue: its file vm.json, which is one of the files that the
// catalogue lists. Pure.
//
//   {"kernel": "vmlinuz", "initrd": "initrd.img", "disk": "disk.qcow2", "command_line": "quiet panic=-1"}
//
// `disk` and `command_line` may be missing; nothing else may be there.
#pragma once

#include <map>
#include <string>

#include "core/result.h"
#include "drivers/qemu/vm_image.h"

namespace skep::drivers::qemu {

constexpr const char* manifest_file = "vm.json";
constexpr std::size_t max_manifest_bytes = 16 * 1024;

/// `sha256_by_name`: of every file in `folder`, as they were proven. malformed_reply: the text is no
/// manifest; not_found: it names a file that is not in the folder.
Result<VmImage> read_manifest(const std::string& text, const std::string& folder,
                              const std::map<std::string, std::string>& sha256_by_name);

}  // namespace skep::drivers::qemu
