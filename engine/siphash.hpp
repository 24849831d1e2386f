// SipHash-2-4: a hash that nobody can predict without its 128-bit key. It authenticates and hides
// sticky tokens (engine/sticky.hpp). Pure functions, no state; source: Aumasson and Bernstein,
// "SipHash: a fast short-input PRF" (2012), whose 64 test vectors tests/engine/siphash_test.cpp
// holds. It is our own because a pick must neither allocate nor lock, which OpenSSL's may.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ballast::engine {

// The sixteen bytes of a key, as two little-endian numbers.
struct SipKey {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;

  friend bool operator==(const SipKey&, const SipKey&) = default;
};

namespace detail {

struct SipState {
  std::uint64_t v0;
  std::uint64_t v1;
  std::uint64_t v2;
  std::uint64_t v3;

  constexpr explicit SipState(const SipKey& key) noexcept
      : v0(key.k0 ^ 0x736f6d6570736575U),
        v1(key.k1 ^ 0x646f72616e646f6dU),
        v2(key.k0 ^ 0x6c7967656e657261U),
        v3(key.k1 ^ 0x7465646279746573U) {}

  constexpr void round() noexcept {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  }
  constexpr void absorb(std::uint64_t word) noexcept {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  // `last` holds the bytes behind the last whole word; its top byte becomes the length.
  [[nodiscard]] constexpr std::uint64_t finish(std::uint64_t last, std::size_t length) noexcept {
    absorb(last | static_cast<std::uint64_t>(length & 0xff) << 56);
    v2 ^= 0xff;
    for (int i = 0; i < 4; ++i)
      round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace detail

// The hash of the bytes that the words are in little-endian order.
[[nodiscard]] constexpr std::uint64_t siphash(const SipKey& key,
                                              std::span<const std::uint64_t> words) noexcept {
  detail::SipState state(key);
  for (const std::uint64_t word : words)
    state.absorb(word);
  return state.finish(0, 8 * words.size());
}

// Any bytes and any length, also none.
[[nodiscard]] constexpr std::uint64_t siphash(const SipKey& key,
                                              std::span<const std::uint8_t> bytes) noexcept {
  detail::SipState state(key);
  const std::size_t length = bytes.size();
  const auto little_endian = [&bytes](std::size_t from, std::size_t count) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < count; ++i)
      word |= std::uint64_t{bytes[from + i]} << (8 * i);
    return word;
  };
  std::size_t at = 0;
  for (; length - at >= 8; at += 8)
    state.absorb(little_endian(at, 8));
  return state.finish(little_endian(at, length - at), length);
}

}  // namespace ballast::engine
