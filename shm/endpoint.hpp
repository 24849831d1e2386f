// Where an instance listens: an IPv4 or IPv6 address and a port, in the 24 bytes in which the table
// keeps it. A value type: the checker makes it from text, workers read it back from the table and
// turn it into a sockaddr. Bytes from a mapped file are input: an unknown family reads as `none`.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ballast::shm {

enum class Family : std::uint8_t { none = 0, ipv4 = 4, ipv6 = 6 };

struct Endpoint {
  Family family = Family::none;
  std::uint16_t port = 0;                  // host byte order
  std::array<std::uint8_t, 16> address{};  // network byte order; IPv4 uses the first four bytes

  friend bool operator==(const Endpoint&, const Endpoint&) = default;

  // The three words in which the table keeps an endpoint. They do not depend on the byte order of
  // the host beyond what the file's `byte_order` mark already refuses.
  [[nodiscard]] std::array<std::uint64_t, 3> to_words() const noexcept;
  [[nodiscard]] static Endpoint from_words(const std::array<std::uint64_t, 3>& words) noexcept;

  // "127.0.0.1:8080" or "[::1]:8080"; "none" for no address.
  [[nodiscard]] std::string to_text() const;
  // Fills `out` and returns the length for connect(2); 0 for no address.
  socklen_t to_sockaddr(sockaddr_storage& out) const noexcept;
};

// Reads "1.2.3.4:80" or "[::1]:80": numeric addresses only, a port of 1..65535. Names are resolved
// elsewhere, because that may block.
[[nodiscard]] std::optional<Endpoint> parse_endpoint(std::string_view text);

}  // namespace ballast::shm
