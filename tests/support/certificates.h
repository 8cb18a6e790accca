// Throw-away certificates for tests: a CA and what it signs, as PEM files in a folder of the test.
#pragma once

#include <filesystem>
#include <string>

namespace skep::test {

/// A folder that is gone with its scope.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& text, int mode = 0600) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Certificate {
  std::string cert_file, key_file, ca_file;
};

/// `names`: subject alternative names in OpenSSL's form, such as "DNS:localhost,IP:127.0.0.1".
Certificate make_certificate(const TempFolder& folder, const std::string& stem, const std::string& names,
                             bool is_expired = false);

}  // namespace skep::test
