// Making and opening sticky tokens: the words, their little-endian bytes, and base64url.
#include "engine/sticky.hpp"

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

constexpr std::uint64_t tag_of(const SipKey& key, const BodyWords& body) noexcept {
  return siphash(key, std::span<const std::uint64_t>(body));
}

// Hides the body, and shows it again.
constexpr BodyWords crossed(const SipKey& key, std::uint64_t tag, BodyWords body) noexcept {
  std::array<std::uint8_t, 9> input{};
  for (std::size_t i = 0; i < 8; ++i)
    input[i] = static_cast<std::uint8_t>(tag >> (8 * i));
  for (std::uint64_t& word : body) {
    word ^= siphash(key, std::span<const std::uint8_t>(input));
    ++input[8];
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

StickyOpened open_by(const SipKey& key, const Words& words) noexcept {
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

SipKey derive_sticky_key(const StickySecret& secret, std::string_view service) noexcept {
  const auto derive = [&](std::size_t from) {
    SipKey half;
    for (std::size_t i = 0; i < 8; ++i) {
      half.k0 |= std::uint64_t{secret[from + i]} << (8 * i);
      half.k1 |= std::uint64_t{secret[from + 8 + i]} << (8 * i);
    }
    return siphash(
        half, std::span(reinterpret_cast<const std::uint8_t*>(service.data()), service.size()));
  };
  SipKey key{derive(0), derive(16)};
  if (!is_set(key)) key.k0 = 1;  // all zero would mean that there is none
  return key;
}

void encode_sticky(const SipKey& key, const StickyBody& body,
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
  if (is_set(keys.current)) opened = open_by(keys.current, words);
  if (opened.verdict == StickyVerdict::wrong_key && is_set(keys.previous)) {
    opened = open_by(keys.previous, words);
    opened.by_previous = opened.verdict == StickyVerdict::opened;
  }
  return opened;
}

}  // namespace ballast::engine
