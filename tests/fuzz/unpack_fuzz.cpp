// A tar from a stranger never makes anything outside of its folder, nor a link that leads there.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/archive/unpack.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace fs = std::filesystem;
  const fs::path top = fs::temp_directory_path() / ("skep-unpack-fuzz-" + std::to_string(::getpid()));
  fs::remove_all(top);
  fs::create_directories(top / "a" / "b");
  std::ofstream(top / "tar", std::ios::binary) << skep::fuzz::as_text(data, size);
  skep::archive::UnpackLimits limits;
  limits.max_bytes = 100'000;
  limits.max_entries = 100;
  const auto unpacked =
      skep::archive::unpack_tar((top / "tar").string(), (top / "a" / "b" / "tree").string(), limits);
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(top)) {
    const std::string name = entry.path().lexically_relative(top).generic_string();
    const bool is_ours = name == "tar" || name == "a" || name == "a/b" || name.rfind("a/b/tree", 0) == 0;
    SKEP_ASSERT(is_ours);
    if (!entry.is_symlink()) {
      SKEP_ASSERT(entry.is_regular_file() || entry.is_directory());
      if (name != "tar" && entry.is_regular_file()) bytes += entry.file_size();
      continue;
    }
    const fs::path inside = fs::path(name).lexically_relative("a/b/tree").parent_path();
    SKEP_ASSERT(skep::archive::is_link_inside(inside == "." ? "" : inside.generic_string(),
                                              fs::read_symlink(entry.path()).string()));
  }
  SKEP_ASSERT(!unpacked || unpacked->bytes <= limits.max_bytes);
  SKEP_ASSERT(bytes <= 100 * limits.max_bytes);
  fs::remove_all(top);
  return 0;
}
