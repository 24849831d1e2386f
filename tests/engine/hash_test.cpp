// The hash of a key never changes: the published vectors of docs/hash-vectors.md are recomputed
// here, and `BALLAST_WRITE_DOCS=1 build/tests/engine/engine_hash_test` writes that page.
#include "engine/hash.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using ballast::engine::attempt_hash;
using ballast::engine::key_hash;
using ballast::engine::reduce;

namespace {

// Byte i of the key "n bytes" is (37 * i + 11) mod 256: every length class of XXH3 is met.
std::string pattern(std::size_t size) {
  std::string key(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    key[i] = static_cast<char>((37 * i + 11) & 0xff);
  return key;
}

struct Vector {
  std::string name;
  std::string key;
};

std::vector<Vector> vectors() {
  std::vector<Vector> all = {{"\"a\"", "a"},
                             {"\"abc\"", "abc"},
                             {"\"/index.html\"", "/index.html"},
                             {"\"user:12345\"", "user:12345"},
                             {"\"The quick brown fox jumps over the lazy dog\"",
                              "The quick brown fox jumps over the lazy dog"}};
  for (std::size_t n :
       {0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 64, 128, 129, 240, 241, 512, 1024, 1025, 4096}) {
    all.push_back({std::to_string(n) + (n == 1 ? " byte" : " bytes"), pattern(n)});
  }
  return all;
}

std::string hex(std::uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4)
    out[i] = kDigits[value & 15];
  return out;
}

std::string page() {
  std::ostringstream out;
  out << "# Test vectors of the key hash\n\n"
         "`key_hash` is XXH3_64bits of the key's bytes with seed 0, as a number: the same on "
         "every\n"
         "machine and byte order, for ever. `attempt_hash(h, n)` is `h` for n = 0; for later "
         "attempts,\n"
         "with `z = h + n * 0x9e3779b97f4a7c15` (all modulo 2^64),\n\n"
         "    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9\n"
         "    z = (z ^ z >> 27) * 0x94d049bb133111eb\n"
         "    attempt_hash = z ^ z >> 31\n\n"
         "and the place in a table of `size` entries is `reduce(h, size) = floor(h * size / "
         "2^64)`.\n\n"
         "A key in quotes is that ASCII text. Byte i of a key given as \"n bytes\" is\n"
         "(37 * i + 11) mod 256.\n\n"
         "`BALLAST_WRITE_DOCS=1 build/tests/engine/engine_hash_test` writes this page; without "
         "the\n"
         "variable the same test fails when the code and this page differ.\n\n"
         "| key | key_hash | attempt 1 | attempt 2 | reduce to 65537 |\n"
         "|---|---|---|---|---|\n";
  for (const Vector& v : vectors()) {
    const std::uint64_t h = key_hash(v.key);
    out << "| " << v.name << " | " << hex(h) << " | " << hex(attempt_hash(h, 1)) << " | "
        << hex(attempt_hash(h, 2)) << " | " << reduce(h, 65537) << " |\n";
  }
  return out.str();
}

}  // namespace

TEST_CASE("the published vectors hold") {
  const std::string now = page();
  const char* root = std::getenv("BALLAST_SOURCE_ROOT");
  const std::string path = std::string(root != nullptr ? root : ".") + "/docs/hash-vectors.md";
  if (std::getenv("BALLAST_WRITE_DOCS") != nullptr) std::ofstream(path) << now;
  std::ifstream file(path);
  REQUIRE_MESSAGE(file, "run from the source root, or set BALLAST_SOURCE_ROOT");
  std::stringstream published;
  published << file.rdbuf();
  CHECK(published.str() == now);
}

TEST_CASE("two values known from xxHash's own documentation") {
  CHECK(key_hash("") == 0x2d06800538d394c2ULL);
  CHECK(key_hash(nullptr, 0) == 0x2d06800538d394c2ULL);
  CHECK(key_hash("a") == 0xe6c632b61e964e1fULL);
}

TEST_CASE("attempt 0 is the hash itself and later attempts differ from it and each other") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t h : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, key_hash("k")}) {
    CHECK(attempt_hash(h, 0) == h);
    for (std::uint32_t attempt = 0; attempt < 1000; ++attempt) {
      CHECK(seen.insert(attempt_hash(h, attempt)).second);
    }
  }
}

TEST_CASE("attempts spread one bit of difference over half the bits") {
  double flipped = 0;
  constexpr int kKeys = 200;
  for (int k = 0; k < kKeys; ++k) {
    const std::uint64_t h = key_hash(std::to_string(k));
    for (int bit = 0; bit < 64; ++bit) {
      flipped += std::popcount(attempt_hash(h, 1) ^ attempt_hash(h ^ (std::uint64_t{1} << bit), 1));
    }
    flipped += std::popcount(attempt_hash(h, 1) ^ attempt_hash(h, 2)) - 32;
  }
  CHECK(flipped / (kKeys * 64) == doctest::Approx(32).epsilon(0.02));
}

TEST_CASE("reduce keeps to its range and divides it evenly") {
  static_assert(reduce(~std::uint64_t{0}, 65537) == 65536);
  static_assert(reduce(0, 65537) == 0);
  static_assert(reduce(~std::uint64_t{0}, 0) == 0);
  static_assert(reduce(std::uint64_t{1} << 63, 10) == 5);
  std::vector<int> counts(13);
  for (int k = 0; k < 130000; ++k)
    ++counts[reduce(key_hash(std::to_string(k)), 13)];
  for (int count : counts)
    CHECK(count == doctest::Approx(10000).epsilon(0.05));
}
