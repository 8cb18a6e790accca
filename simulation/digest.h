// One number for a whole run: two runs of a seed are the same if theirs are. FNV-1a, 64 bits. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace skep::simulation {

class Digest {
 public:
  void add(std::uint64_t number) {
    for (int i = 0; i < 8; ++i) {
      add_byte(static_cast<unsigned char>(number & 0xff));
      number >>= 8;
    }
  }
  void add(std::string_view text) {
    for (const char c : text) add_byte(static_cast<unsigned char>(c));
    add_byte(0xff);  // so that "ab","c" is not "a","bc"
  }
  std::uint64_t value() const { return state_; }

 private:
  void add_byte(unsigned char byte) { state_ = (state_ ^ byte) * 1'099'511'628'211ull; }
  std::uint64_t state_ = 14'695'981'039'346'656'037ull;
};

}  // namespace skep::simulation
