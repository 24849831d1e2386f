// A sticky token opens to what it was made of, by its key and no other, and not if a single bit of
// it was changed; it is the same text wherever it is made.
#include "engine/sticky.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "shm/endpoint.hpp"
#include "tests/support/property.hpp"

using namespace ballast::engine;
using ballast::tests::holds;

namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

StickySecret secret(std::uint8_t first) {
  StickySecret bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(first + i);
  return bytes;
}

SipKey key_of(std::uint8_t first, std::string_view service = "web") {
  return derive_sticky_key(secret(first), service);
}

std::string encoded(const SipKey& key, const StickyBody& body) {
  std::string text(kStickyText, '?');
  encode_sticky(key, body, std::span<char, kStickyText>(text.data(), kStickyText));
  return text;
}

StickyBody any_body() {
  return {*rc::gen::arbitrary<std::uint16_t>(), *rc::gen::arbitrary<std::uint32_t>(),
          *rc::gen::arbitrary<std::uint64_t>()};
}

SipKey any_key() {
  const auto word = [] { return *rc::gen::arbitrary<std::uint64_t>(); };
  return {word(), word() | 1};
}

constexpr StickyBody kBody{7, 3, 0x0123456789abcdef};

}  // namespace

TEST_CASE("a published token, for other implementations") {
  // The example of docs/sticky.md: the secret is the bytes 00 01 .. 1f, the service "web".
  const SipKey key = key_of(0);
  const auto endpoint = ballast::shm::parse_endpoint("10.0.0.1:80");
  REQUIRE(endpoint);
  const StickyBody body{7, 3, sticky_fingerprint(key, endpoint->to_words())};
  CHECK(body.fingerprint == 0x8b33ed54dc75623fU);
  CHECK(encoded(key, body) == "hUYOMU4wUxEyn2yFjGxuBuhYxyXXV9r-");
}

TEST_CASE("a token opens to what it was made of") {
  CHECK(holds("round trip", [] {
    const SipKey key = any_key();
    const StickyBody body = any_body();
    const std::string text = encoded(key, body);
    RC_ASSERT(text.find_first_not_of(kAlphabet) == std::string::npos);
    const StickyOpened opened = decode_sticky({key, {}}, text);
    RC_ASSERT(opened.verdict == StickyVerdict::opened);
    RC_ASSERT(!opened.by_previous);
    RC_ASSERT(opened.body == body);
  }));
}

TEST_CASE("it is the same wherever it is made, and another for every other instance") {
  CHECK(encoded(key_of(0), kBody) == encoded(key_of(0), kBody));
  std::set<std::string> seen;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    CHECK(seen.insert(encoded(key_of(0), {static_cast<std::uint16_t>(i), 1, 9})).second);
    CHECK(seen.insert(encoded(key_of(0), {1, i + 2, 9})).second);
  }
}

TEST_CASE("no bit of it may be changed") {
  const StickyKeys keys{key_of(0), key_of(50)};
  for (const SipKey& key : {keys.current, keys.previous}) {
    const std::string text = encoded(key, kBody);
    REQUIRE(decode_sticky(keys, text).verdict == StickyVerdict::opened);
    for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
      std::string changed = text;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
      CHECK(decode_sticky(keys, changed).verdict != StickyVerdict::opened);
    }
    // Every other character in every place, so every bit of the 24 bytes as well.
    for (std::size_t i = 0; i < text.size(); ++i) {
      for (const char c : kAlphabet) {
        std::string changed = text;
        changed[i] = c;
        if (c != text[i]) CHECK(decode_sticky(keys, changed).verdict == StickyVerdict::wrong_key);
      }
    }
  }
}

TEST_CASE("it has one length") {
  const std::string text = encoded(key_of(0), kBody);
  const StickyKeys keys{key_of(0), {}};
  for (std::size_t size = 0; size < 100; ++size) {
    std::string cut = (text + text + text + text).substr(0, size);
    CAPTURE(size);
    CHECK((decode_sticky(keys, cut).verdict == StickyVerdict::opened) == (size == kStickyText));
    if (size != kStickyText) CHECK(decode_sticky(keys, cut).verdict == StickyVerdict::not_ours);
  }
  CHECK(decode_sticky(keys, {}).verdict == StickyVerdict::not_ours);
  for (int c = 0; c < 256; ++c) {
    std::string odd = text;
    odd[13] = static_cast<char>(c);
    if (kAlphabet.find(odd[13]) == std::string_view::npos)
      CHECK(decode_sticky(keys, odd).verdict == StickyVerdict::not_ours);
  }
}

TEST_CASE("bytes at random are refused") {
  CHECK(holds("bytes at random", [](const std::string& text) {
    RC_ASSERT(decode_sticky({key_of(0), key_of(1)}, text).verdict == StickyVerdict::not_ours);
  }));
  CHECK(holds("letters at random", [] {
    std::string text(kStickyText, 'A');
    for (char& c : text)
      c = kAlphabet[*rc::gen::inRange<std::size_t>(0, kAlphabet.size())];
    RC_ASSERT(decode_sticky({key_of(0), key_of(1)}, text).verdict == StickyVerdict::wrong_key);
  }));
}

TEST_CASE("the previous key still opens, and says so") {
  const SipKey before = key_of(0);
  const SipKey now = key_of(100);
  const std::string old = encoded(before, kBody);
  const StickyOpened opened = decode_sticky({now, before}, old);
  CHECK(opened.verdict == StickyVerdict::opened);
  CHECK(opened.by_previous);
  CHECK(opened.body == kBody);
  CHECK_FALSE(decode_sticky({before, now}, old).by_previous);
  CHECK(decode_sticky({now, {}}, old).verdict == StickyVerdict::wrong_key);
  // No key opens nothing; above all, not what was made with the key of nothing but zeros.
  CHECK(decode_sticky({}, encoded({}, kBody)).verdict == StickyVerdict::wrong_key);
  CHECK(decode_sticky({{}, before}, old).by_previous);
}

TEST_CASE("each service has a key of its own") {
  const std::string text = encoded(key_of(0, "web"), kBody);
  CHECK(decode_sticky({key_of(0, "api"), {}}, text).verdict == StickyVerdict::wrong_key);
  CHECK(decode_sticky({key_of(0, "we"), {}}, text).verdict == StickyVerdict::wrong_key);
  CHECK(decode_sticky({key_of(1, "web"), {}}, text).verdict == StickyVerdict::wrong_key);
  CHECK(is_set(key_of(0)));
  const std::string longest(63, 'x');
  CHECK(key_of(0, longest) != key_of(0, longest.substr(1)));
  // Every byte of the secret matters.
  std::set<std::string> seen;
  for (std::size_t i = 0; i < 32; ++i) {
    auto other = secret(0);
    other[i] ^= 0x80;
    CHECK(seen.insert(encoded(derive_sticky_key(other, "web"), kBody)).second);
  }
  CHECK(seen.count(text) == 0);
}

TEST_CASE("an address has one fingerprint a key") {
  const SipKey key = key_of(0);
  std::set<std::uint64_t> seen;
  for (const char* text : {"10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[::1]:80",
                           "[::ffff:10.0.0.1]:80", "[0a00:1::]:80"}) {
    const auto endpoint = ballast::shm::parse_endpoint(text);
    REQUIRE(endpoint);
    CHECK(seen.insert(sticky_fingerprint(key, endpoint->to_words())).second);
    CHECK(seen.insert(sticky_fingerprint(key_of(9), endpoint->to_words())).second);
  }
}

TEST_CASE("a token tells nothing of the instance to those without the key") {
  // Tokens of neighbouring slots differ in about half of all bits.
  const auto bits = [](const std::string& text) {
    std::vector<int> out;
    for (const char c : text) {
      for (int bit = 0; bit < 6; ++bit)
        out.push_back(static_cast<int>(kAlphabet.find(c) >> bit & 1));
    }
    return out;
  };
  double differ = 0;
  constexpr int kPairs = 400;
  for (std::uint16_t slot = 0; slot < kPairs; ++slot) {
    const auto a = bits(encoded(key_of(0), {slot, 1, 5}));
    const auto b = bits(encoded(key_of(0), {static_cast<std::uint16_t>(slot + 1), 1, 5}));
    for (std::size_t i = 0; i < a.size(); ++i)
      differ += a[i] != b[i];
  }
  CHECK(differ / (kPairs * 192) == doctest::Approx(0.5).epsilon(0.03));
}
