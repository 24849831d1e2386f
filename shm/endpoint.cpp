// Text, words and sockaddr forms of an instance's address.
#include "shm/endpoint.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace ballast::shm {

std::array<std::uint64_t, 3> Endpoint::to_words() const noexcept {
  std::array<std::uint64_t, 3> words{};
  words[0] = static_cast<std::uint64_t>(family) << 16 | port;
  std::memcpy(&words[1], address.data(), 16);
  return words;
}

Endpoint Endpoint::from_words(const std::array<std::uint64_t, 3>& words) noexcept {
  Endpoint e;
  const std::uint64_t family = words[0] >> 16;
  if (family != 4 && family != 6) return e;
  e.family = static_cast<Family>(family);
  e.port = static_cast<std::uint16_t>(words[0]);
  std::memcpy(e.address.data(), &words[1], 16);
  return e;
}

std::string Endpoint::to_text() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  switch (family) {
    case Family::ipv4:
      inet_ntop(AF_INET, address.data(), buffer, sizeof buffer);
      return std::string(buffer) + ":" + std::to_string(port);
    case Family::ipv6:
      inet_ntop(AF_INET6, address.data(), buffer, sizeof buffer);
      return "[" + std::string(buffer) + "]:" + std::to_string(port);
    case Family::none:
      break;
  }
  return "none";
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& out) const noexcept {
  std::memset(&out, 0, sizeof out);
  if (family == Family::ipv4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.data(), 4);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  if (family == Family::ipv6) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.data(), 16);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  return 0;
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port < 1 || port > 65535) {
    return std::nullopt;
  }
  Endpoint e;
  e.port = static_cast<std::uint16_t>(port);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const std::string host_text(host);
  if (!bracketed && inet_pton(AF_INET, host_text.c_str(), e.address.data()) == 1) {
    e.family = Family::ipv4;
    return e;
  }
  if (bracketed && inet_pton(AF_INET6, host_text.c_str(), e.address.data()) == 1) {
    e.family = Family::ipv6;
    return e;
  }
  return std::nullopt;
}

}  // namespace ballast::shm
