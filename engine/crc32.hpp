// CRC-32 as in zip, Ethernet and nginx (reflected, polynomial 0xedb88320): the hash of ketama. A
// pure function, in a header so that a worker's pick inlines it. It is our own because zlib's takes
// a byte at a time for keys as short as ours; this takes eight (Kounavis and Berry, "slicing").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ballast::engine {

namespace detail {

using Crc32Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// Table k gives what a byte adds to the register once k more bytes have gone by.
constexpr Crc32Tables make_crc32_tables() noexcept {
  Crc32Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

inline constexpr Crc32Tables kCrc32 = make_crc32_tables();

}  // namespace detail

// The register before the first byte; the checksum is the complement of the register at the end.
inline constexpr std::uint32_t kCrc32Start = 0xffffffffU;

// The register after four more bytes, given as the number that they are in little-endian order.
[[nodiscard]] constexpr std::uint32_t crc32_update(std::uint32_t crc,
                                                   std::uint32_t four_bytes) noexcept {
  const auto& t = detail::kCrc32;
  crc ^= four_bytes;
  return t[3][crc & 0xff] ^ t[2][(crc >> 8) & 0xff] ^ t[1][(crc >> 16) & 0xff] ^ t[0][crc >> 24];
}

// The register after the bytes of `data`, which may be any, also none.
[[nodiscard]] constexpr std::uint32_t crc32_update(std::uint32_t crc,
                                                   std::string_view data) noexcept {
  const auto& t = detail::kCrc32;
  const auto byte = [&data](std::size_t i) { return static_cast<std::uint8_t>(data[i]); };
  const auto word = [&byte](std::size_t i) {
    return std::uint32_t{byte(i)} | std::uint32_t{byte(i + 1)} << 8 |
           std::uint32_t{byte(i + 2)} << 16 | std::uint32_t{byte(i + 3)} << 24;
  };
  for (; data.size() >= 8; data.remove_prefix(8)) {
    const std::uint32_t low = crc ^ word(0);
    const std::uint32_t high = word(4);
    crc = t[7][low & 0xff] ^ t[6][(low >> 8) & 0xff] ^ t[5][(low >> 16) & 0xff] ^ t[4][low >> 24] ^
          t[3][high & 0xff] ^ t[2][(high >> 8) & 0xff] ^ t[1][(high >> 16) & 0xff] ^
          t[0][high >> 24];
  }
  if (data.size() >= 4) {
    crc = crc32_update(crc, word(0));
    data.remove_prefix(4);
  }
  for (std::size_t i = 0; i < data.size(); ++i)
    crc = (crc >> 8) ^ t[0][(crc ^ byte(i)) & 0xff];
  return crc;
}

[[nodiscard]] constexpr std::uint32_t crc32(std::string_view data) noexcept {
  return ~crc32_update(kCrc32Start, data);
}

}  // namespace ballast::engine
