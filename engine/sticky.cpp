// Making and opening sticky tokens: the words, their little-endian bytes, and base64url.
#include "engine/sticky.hpp"

#include <algorithm>

#include "shm/layout.hpp"

namespace ballast::engine {

namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t kNoDigit = 0xff;

constexpr std::array<std::uint8_t, 256> make_digits() noexcept {
  std::array<std::uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    digits[static_cast<std::uint8_t>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  return digits;
}
constexpr std::array<std::uint8_t, 256> kDigits = make_digits();

using Bytes = std::array<std::uint8_t, kStickyBytes>;
// A token is three words: the tag, and the body in two.
using Words = std::array<std::uint64_t, 3>;
using BodyWords = std::array<std::uint64_t, 2>;

constexpr BodyWords pack(const StickyBody& body) noexcept {
  return {std::uint64_t{kStickyVersion} | std::uint64_t{body.slot} << 16 |
              std::uint64_t{body.incarnation} << 32,
          body.fingerprint};
}

constexpr std::uint64_t tag_of(const StickyKey& key, const BodyWords& body) noexcept {
  return siphash(key.mac, std::span<const std::uint64_t>(body));
}

// Hides the body, and shows it again.
constexpr BodyWords crossed(const StickyKey& key, std::uint64_t tag, BodyWords body) noexcept {
  for (std::uint64_t i = 0; i < body.size(); ++i) {
    const std::uint64_t input[] = {tag, i};
    body[i] ^= siphash(key.stream, std::span<const std::uint64_t>(input));
  }
  return body;
}

Bytes to_bytes(const Words& words) noexcept {
  Bytes bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(words[i / 8] >> (8 * (i % 8)));
  return bytes;
}

Words to_words(const Bytes& bytes) noexcept {
  Words words{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    words[i / 8] |= std::uint64_t{bytes[i]} << (8 * (i % 8));
  return words;
}

// Three bytes are four characters: 24 bytes need no padding, and each has one text only.
bool from_base64(std::string_view text, Bytes& out) noexcept {
  if (text.size() != kStickyText) return false;
  std::uint8_t wrong = 0;
  for (std::size_t i = 0; i < out.size() / 3; ++i) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const std::uint8_t digit = kDigits[static_cast<std::uint8_t>(text[4 * i + j])];
      wrong |= digit & 0xc0;
      group = group << 6 | (digit & 0x3fU);
    }
    out[3 * i] = static_cast<std::uint8_t>(group >> 16);
    out[3 * i + 1] = static_cast<std::uint8_t>(group >> 8);
    out[3 * i + 2] = static_cast<std::uint8_t>(group);
  }
  return wrong == 0;
}

void to_base64(const Bytes& bytes, std::span<char, kStickyText> out) noexcept {
  for (std::size_t i = 0; i < bytes.size() / 3; ++i) {
    const std::uint32_t group =
        std::uint32_t{bytes[3 * i]} << 16 | std::uint32_t{bytes[3 * i + 1]} << 8 | bytes[3 * i + 2];
    for (std::size_t j = 0; j < 4; ++j)
      out[4 * i + j] = kAlphabet[group >> (18 - 6 * j) & 0x3f];
  }
}

StickyOpened open_by(const StickyKey& key, const Words& words) noexcept {
  const BodyWords body = crossed(key, words[0], {words[1], words[2]});
  // One comparison of two numbers: it does not say where they differ, not even by its time.
  if ((tag_of(key, body) ^ words[0]) != 0) return {StickyVerdict::wrong_key, false, {}};
  if ((body[0] & 0xffff) != kStickyVersion) return {StickyVerdict::not_ours, false, {}};
  return {StickyVerdict::opened,
          false,
          {static_cast<std::uint16_t>(body[0] >> 16), static_cast<std::uint32_t>(body[0] >> 32),
           body[1]}};
}

}  // namespace

StickyKey derive_sticky_key(std::span<const std::uint8_t, 32> secret,
                            std::string_view service) noexcept {
  const auto half = [&secret](std::size_t from) {
    Bytes bytes{};
    for (std::size_t i = 0; i < 16; ++i)
      bytes[i] = secret[from + i];
    const Words words = to_words(bytes);
    return SipKey{words[0], words[1]};
  };
  // Each half of the secret gives the key of one purpose: the hashes of 0 and the name, of 1 and
  // the name.
  const auto derive = [&service](const SipKey& key) {
    std::array<std::uint8_t, shm::kServiceNameBytes> input{};
    const std::size_t length = std::min(service.size(), input.size() - 1);
    for (std::size_t i = 0; i < length; ++i)
      input[i + 1] = static_cast<std::uint8_t>(service[i]);
    const std::span<const std::uint8_t> filled(input.data(), length + 1);
    SipKey derived;
    derived.k0 = siphash(key, filled);
    input[0] = 1;
    derived.k1 = siphash(key, filled);
    return derived;
  };
  StickyKey key{derive(half(0)), derive(half(16))};
  if (!key.is_set()) key.mac.k0 = 1;  // all zero would mean that there is none
  return key;
}

void encode_sticky(const StickyKey& key, const StickyBody& body,
                   std::span<char, kStickyText> out) noexcept {
  const BodyWords plain = pack(body);
  const std::uint64_t tag = tag_of(key, plain);
  const BodyWords hidden = crossed(key, tag, plain);
  to_base64(to_bytes({tag, hidden[0], hidden[1]}), out);
}

StickyOpened decode_sticky(const StickyKeys& keys, std::string_view text) noexcept {
  Bytes bytes{};
  if (!from_base64(text, bytes)) return {};
  const Words words = to_words(bytes);
  StickyOpened opened{StickyVerdict::wrong_key, false, {}};
  if (keys.current.is_set()) opened = open_by(keys.current, words);
  if (opened.verdict == StickyVerdict::wrong_key && keys.previous.is_set()) {
    opened = open_by(keys.previous, words);
    opened.by_previous = opened.verdict == StickyVerdict::opened;
  }
  return opened;
}

}  // namespace ballast::engine
