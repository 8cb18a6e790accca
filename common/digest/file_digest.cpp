#include "common/digest/file_digest.h"

#include <algorithm>
#include <fstream>

namespace skep::digest {
namespace {

constexpr std::size_t piece_bytes = 1 << 20;

Error unreadable(const std::filesystem::path& path, const char* why) {
  return Error::try_again(ErrorCode::generic, "cannot read " + path.string() + ": " + why);
}

}  // namespace

Result<std::uint64_t> hash_file(const std::filesystem::path& file, std::uint64_t limit, Sha256& digest,
                                const IsCancelled& is_cancelled) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return unreadable(file, "it cannot be opened");
  std::string piece(piece_bytes, '\0');
  std::uint64_t done = 0;
  while (done < limit) {
    if (is_cancelled && is_cancelled())
      return Error::try_again(ErrorCode::unavailable, "reading " + file.string() + " was stopped");
    in.read(piece.data(), static_cast<std::streamsize>(std::min<std::uint64_t>(piece.size(), limit - done)));
    const auto count = static_cast<std::size_t>(in.gcount());
    digest.update({piece.data(), count});
    done += count;
    if (in.bad()) return unreadable(file, "the disk would not");
    if (in.eof() || count == 0) break;
  }
  return done;
}

}  // namespace skep::digest
