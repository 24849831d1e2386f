// Reads an answer of a name server: the addresses and services in it, how long they hold, and how
// it ended. Pure. The bytes are input, from whoever sends a datagram: whatever they are, reading
// ends, and either all of the message is accepted or none of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shm/endpoint.hpp"

namespace ballast::checker {

enum class DnsType : std::uint16_t { a = 1, cname = 5, soa = 6, aaaa = 28, srv = 33 };

inline constexpr std::uint8_t kDnsNoError = 0;
inline constexpr std::uint8_t kDnsNoSuchName = 3;  // NXDOMAIN
inline constexpr std::size_t kMaxDnsNameBytes = 253;

struct DnsAddress {
  std::string name;       // whose it is: lower case, no dot at the end
  shm::Endpoint address;  // without a port
};

struct DnsService {
  std::uint16_t priority = 0;
  std::uint16_t weight = 0;
  std::uint16_t port = 0;
  std::string target;  // as a name above; empty: there is no such service
};

struct DnsMessage {
  std::uint8_t rcode = 0;
  bool truncated = false;
  std::vector<DnsAddress> addresses;  // of the answer
  std::vector<DnsService> services;
  std::vector<DnsAddress> additional;
  // The shortest time to live of what is above and of what leads to it; none: nothing is above.
  std::optional<std::uint32_t> ttl_s;
  // How long it holds that there is nothing, if the answer says so (RFC 2308).
  std::optional<std::uint32_t> negative_ttl_s;
};

// Nothing: these bytes are no answer.
[[nodiscard]] std::optional<DnsMessage> parse_dns_message(std::span<const std::uint8_t> bytes);

// "SERVFAIL".
[[nodiscard]] std::string dns_rcode_text(std::uint8_t rcode);

}  // namespace ballast::checker
