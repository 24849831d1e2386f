// Keys as servers see them: distinct, of 8 to 24 bytes, such as session ids and user names, made
// before anything is timed. They lie in a row of fixed places, so that reading the next one costs
// next to nothing, as with a key that the server has just parsed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace ballast::bench {

struct Key {
  char bytes[31];
  std::uint8_t size;
};
static_assert(sizeof(Key) == 32);

inline constexpr std::size_t kShortestKey = 8;
inline constexpr std::size_t kLongestKey = 24;
inline constexpr std::size_t kKeyCount = 8192;  // a power of two

// How the lengths follow each other. `runs`: 480 or so keys of one length, then of the next, so
// that the processor foresees the hash's branches on the length and their misses hide no other
// cost: the stricter way, used for the goals. `mixed`: at random.
enum class KeyOrder { runs, mixed };

[[nodiscard]] inline std::vector<Key> make_keys(KeyOrder order, std::uint64_t seed = 1) {
  std::vector<Key> keys(kKeyCount);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15U;
  const auto next = [&state] {  // xorshift64*: the same everywhere
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dU;
  };
  constexpr std::size_t kLengths = kLongestKey - kShortestKey + 1;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::size_t step =
        order == KeyOrder::runs ? i * kLengths / keys.size() : next() % kLengths;
    Key& key = keys[i];
    key.size = static_cast<std::uint8_t>(kShortestKey + step);
    // The number of the key in base 32 makes it distinct, random letters make up the rest.
    for (std::size_t b = 0; b < key.size; ++b)
      key.bytes[b] = "abcdefghijklmnopqrstuvwxyz234567"[(b < 3 ? i >> (5 * b) : next() >> 40) & 31];
  }
  return keys;
}

}  // namespace ballast::bench
