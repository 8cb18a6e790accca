// One number for a whole run: two runs of a seed are the same if theirs are. FNV-1a, 64 bits. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace skep::simulation {

class Digest {
 public:
  /// Eight bytes, the lowest one first. Those above the highest bit are 0, and only multiply.
  void add(std::uint64_t number) {
    std::size_t zeros = powers.size() - 1;
    for (; number != 0; number >>= 8, --zeros) add_byte(static_cast<unsigned char>(number & 0xff));
    state_ *= powers[zeros];
  }
  void add(std::string_view text) {
    for (const char c : text) add_byte(static_cast<unsigned char>(c));
    add_byte(0xff);  // so that "ab","c" is not "a","bc"
  }
  std::uint64_t value() const { return state_; }

 private:
  static constexpr std::uint64_t prime = 1'099'511'628'211ull;
  static constexpr std::array<std::uint64_t, 9> powers = [] {
    std::array<std::uint64_t, 9> all{1};
    for (std::size_t i = 1; i < all.size(); ++i) all[i] = all[i - 1] * prime;
    return all;
  }();
  void add_byte(unsigned char byte) { state_ = (state_ ^ byte) * prime; }
  std::uint64_t state_ = 14'695'981'039'346'656'037ull;
};

}  // namespace skep::simulation
