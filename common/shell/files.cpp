#include "common/shell/files.h"

#include <filesystem>
#include <fstream>

namespace skep::shell {

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream)
    return Error::failed(ErrorCode::not_found, "cannot read " + path,
                         "check that it exists and that this user may read it");
  std::string text(limit + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > limit)
    return Error::failed(ErrorCode::too_large, path + " is larger than " + std::to_string(limit) + " bytes");
  return text;
}

Result<std::string> read_secret_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failure;
  const fs::perms permissions = fs::status(path, failure).permissions();
  if (failure || permissions == fs::perms::unknown) {
    return Error::failed(ErrorCode::not_found, "cannot read the secret file " + path,
                         "check that it exists and that this user may read it");
  }
  const fs::perms others = fs::perms::group_all | fs::perms::others_all;
  if ((permissions & others) != fs::perms::none) {
    return Error::failed(ErrorCode::permission_denied, "the secret file " + path + " is open to other users",
                         "chmod 600 " + path);
  }
  auto text = read_file(path, 64 * 1024);
  if (!text) return text.error();
  if (!text->empty() && text->back() == '\n') text->pop_back();
  if (!text->empty() && text->back() == '\r') text->pop_back();
  if (text->empty()) return Error::failed(ErrorCode::invalid_input, "the secret file " + path + " is empty");
  return text;
}

}  // namespace skep::shell
