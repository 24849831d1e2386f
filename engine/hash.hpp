// The hash of a key and the positions derived from it. It is fixed for ever: the same key gives the
// same number on every machine, byte order, compiler and release (docs/hash-vectors.md holds test
// vectors), because every process and every host must agree where a key lives. Pure functions, no
// state; nobody writes, everybody reads. This header is internal and not installed: xxHash is
// inlined here so that no symbol or type of it is seen outside.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ballast::engine {

// XXH3_64bits of the key's bytes with seed 0. Any bytes and any length, also none (`data` may then
// be null). Thread-safe and fork-safe. Source: the XXH3 specification of xxHash 0.8.
[[nodiscard]] inline std::uint64_t key_hash(const void* data, std::size_t size) noexcept {
  return XXH3_64bits(data, size);
}
[[nodiscard]] inline std::uint64_t key_hash(std::string_view key) noexcept {
  return key_hash(key.data(), key.size());
}
[[nodiscard]] inline std::uint64_t key_hash(std::span<const std::byte> key) noexcept {
  return key_hash(key.data(), key.size());
}

// Up to so many bytes the hash needs no call, and few registers.
inline constexpr std::size_t kShortKey = 32;
// The same for a key of at most kShortKey bytes, without the code for longer ones.
[[nodiscard]] inline std::uint64_t short_key_hash(const void* data, std::size_t size) noexcept {
  if (size > kShortKey) __builtin_unreachable();
  return XXH3_64bits(data, size);
}

// The hash that stands for a key at its `attempt`-th position: attempt 0 is the key's own hash,
// each later one is where the key goes when the ones before it may not be used. All processes and
// hosts see the same sequence. For a fixed attempt this is a bijection of `hash`, so displaced keys
// spread as evenly as keys do. Source: the SplitMix64 step and output function (Steele, Lea, Flood
// 2014).
[[nodiscard]] constexpr std::uint64_t attempt_hash(std::uint64_t hash,
                                                   std::uint32_t attempt) noexcept {
  if (attempt == 0) return hash;
  std::uint64_t z = hash + std::uint64_t{0x9e3779b97f4a7c15} * attempt;
  z = (z ^ (z >> 30)) * std::uint64_t{0xbf58476d1ce4e5b9};
  z = (z ^ (z >> 27)) * std::uint64_t{0x94d049bb133111eb};
  return z ^ (z >> 31);
}

// Maps a hash to 0 .. size - 1 without a division: the high 64 bits of hash * size. Each index gets
// its fair share to within size / 2^64. `size` 0 gives 0. Source: Lemire, "Fast random integer
// generation in an interval" (2019).
[[nodiscard]] constexpr std::uint64_t reduce(std::uint64_t hash, std::uint64_t size) noexcept {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(hash) * size) >> 64);
}

}  // namespace ballast::engine
