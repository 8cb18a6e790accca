#include "core/prng.h"

namespace skep {
namespace {

std::uint64_t split_mix(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15u;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::uint64_t rotate_left(std::uint64_t x, int k) {
  return (x << k) | (x >> (64 - k));
}

}  // namespace

Prng::Prng(std::uint64_t seed) {
  for (std::uint64_t& word : state_) word = split_mix(seed);
}

std::uint64_t Prng::next() {
  const std::uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

std::uint64_t Prng::below(std::uint64_t bound) {
  SKEP_ASSERT(bound >= 1);
  const std::uint64_t uneven =
      (0 - bound) % bound;  // 2^64 mod bound: the part that would favour small results
  std::uint64_t draw = next();
  while (draw < uneven) draw = next();
  return draw % bound;
}

std::int64_t Prng::between(std::int64_t least, std::int64_t most) {
  SKEP_ASSERT(least <= most);
  const std::uint64_t span = static_cast<std::uint64_t>(most) - static_cast<std::uint64_t>(least);
  const std::uint64_t offset = span == UINT64_MAX ? next() : below(span + 1);
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(least) + offset);
}

Prng Prng::fork(std::string_view name) const {
  std::uint64_t seed = state_[0] ^ rotate_left(state_[3], 13);
  for (char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return Prng(seed);
}

}  // namespace skep
