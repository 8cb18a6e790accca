// SHA-256 of what comes in pieces (FIPS 180-4, by OpenSSL). One object a digest; not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace skep::digest {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::string_view bytes);
  /// 64 lower-case hex digits of all that came so far; more may follow.
  std::string hex() const;

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256_hex(std::string_view bytes);
/// 64 digits, 0-9 and a-f.
bool is_sha256_hex(std::string_view text);

}  // namespace skep::digest
