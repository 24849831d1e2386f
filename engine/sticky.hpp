// Sticky tokens: a short text that a client hands back so that its next request goes to the
// instance of the last. It is made and opened by workers, with a key of the service that the
// checker reads from a file; a client can neither read one nor make one. Pure functions over the
// caller's memory: nothing is shared, so nobody's death matters. docs/sticky.md has the format, and
// what a token protects and what it does not.
//
//   body   16 bytes: version, 0, slot, incarnation, fingerprint of the address
//   tag     8 bytes: SipHash-2-4(key, body)
//   token  base64url(tag, body XOR (SipHash-2-4(key, tag and 0), SipHash-2-4(key, tag and 1)))
//
// This is SIV (Rogaway and Shrimpton, "Deterministic Authenticated-Encryption", 2006) with SipHash
// as its pseudo-random function, whose three uses differ in the length of what is hashed: 16 bytes
// for the tag, 9 for what hides the body, 24 for a fingerprint. It needs no nonce, so no randomness
// at run time, and equal bodies give equal tokens, which tells a program that its client's token is
// up to date.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/siphash.hpp"

namespace ballast::engine {

inline constexpr std::size_t kStickyBytes = 24;  // as sent, before base64url
inline constexpr std::size_t kStickyText = 32;   // characters; none of them needs quoting anywhere
inline constexpr std::uint8_t kStickyVersion = 1;

// The secret of a key file, from which each service has a key of its own.
using StickySecret = std::array<std::uint8_t, 32>;

// The key that makes a service's tokens, and the one before it, whose tokens are still opened. All
// zero: there is none.
struct StickyKeys {
  SipKey current;
  SipKey previous;

  friend bool operator==(const StickyKeys&, const StickyKeys&) = default;
};

[[nodiscard]] constexpr bool is_set(const SipKey& key) noexcept {
  return key != SipKey{};
}

// Which instance a token names. The fingerprint decides; slot and incarnation say where to look
// first, since another host may have given the slot to another address.
struct StickyBody {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
  std::uint64_t fingerprint = 0;

  friend bool operator==(const StickyBody&, const StickyBody&) = default;
};

enum class StickyVerdict : std::uint8_t {
  opened = 0,
  not_ours = 1,   // not 32 characters of base64url, or of a version not known here
  wrong_key = 2,  // made with a key that is neither of ours, or changed on the way
};

struct StickyOpened {
  StickyVerdict verdict = StickyVerdict::not_ours;
  bool by_previous = false;  // time to give the client a new one
  StickyBody body;           // zero unless opened
};

// A token of one service opens at no other.
[[nodiscard]] SipKey derive_sticky_key(const StickySecret& secret,
                                       std::string_view service) noexcept;

// What stands for an address in a token: a keyed hash of the words that the table keeps of it
// (shm::Endpoint::to_words), the same on every host. Two of 65,000 addresses share one with a
// chance of 2^-33.
[[nodiscard]] constexpr std::uint64_t sticky_fingerprint(
    const SipKey& key, const std::array<std::uint64_t, 3>& endpoint) noexcept {
  return siphash(key, std::span<const std::uint64_t>(endpoint));
}

// Writes the token's characters, without a NUL.
void encode_sticky(const SipKey& key, const StickyBody& body,
                   std::span<char, kStickyText> out) noexcept;

// Opens a token by either key. `text` comes from a client: any bytes of any length. The comparison
// of tags takes as long for any two.
[[nodiscard]] StickyOpened decode_sticky(const StickyKeys& keys, std::string_view text) noexcept;

}  // namespace ballast::engine
