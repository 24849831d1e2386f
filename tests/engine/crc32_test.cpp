// The checksum is the CRC-32 that everyone means, at every length and alignment.
#include "engine/crc32.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace ballast::engine;

namespace {

std::uint32_t bit_by_bit(std::string_view data) {
  std::uint32_t crc = 0xffffffffU;
  for (char c : data) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

}  // namespace

TEST_CASE("known values") {
  static_assert(crc32("123456789") == 0xcbf43926U);  // the check value of the CRC catalogue
  CHECK(crc32("") == 0);
  CHECK(crc32("a") == 0xe8b7be43U);
  CHECK(crc32("The quick brown fox jumps over the lazy dog") == 0x414fa339U);
}

TEST_CASE("eight bytes at a time equals a bit at a time") {
  std::string data;
  for (int i = 0; i < 80; ++i)
    data += static_cast<char>(i * 151 + 7);
  for (std::size_t from = 0; from < 9; ++from) {
    for (std::size_t size = 0; from + size <= data.size(); ++size) {
      const auto part = std::string_view(data).substr(from, size);
      CHECK(crc32(part) == bit_by_bit(part));
      // In two pieces, the second of them a number.
      if (size >= 4) {
        std::uint32_t last = 0;
        for (std::size_t i = 0; i < 4; ++i) {
          last |= std::uint32_t{static_cast<std::uint8_t>(part[size - 4 + i])} << (8 * i);
        }
        const auto crc = crc32_update(kCrc32Start, part.substr(0, size - 4));
        CHECK(~crc32_update(crc, last) == crc32(part));
      }
    }
  }
}
