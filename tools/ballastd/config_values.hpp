// The values that a configuration spells as text: durations, percentages, status ranges, names and
// addresses. Each parser is pure and returns the value or a Complaint; where in the file it stands
// is the caller's business (config.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "engine/checker/settings.hpp"
#include "shm/endpoint.hpp"

namespace ballast::tools {

// What is wrong, and what to do about it.
struct Complaint {
  std::string message;
  std::string advice;
};

template <typename T>
class Parsed {
 public:
  Parsed(T value) : content_(std::move(value)) {}
  Parsed(Complaint complaint) : content_(std::move(complaint)) {}
  [[nodiscard]] bool ok() const { return content_.index() == 0; }
  [[nodiscard]] const T& value() const { return std::get<0>(content_); }
  [[nodiscard]] const Complaint& complaint() const { return std::get<1>(content_); }

 private:
  std::variant<T, Complaint> content_;
};

// `text` in quotes for a message: cut to 80 bytes, control characters shown as '?'.
[[nodiscard]] std::string in_quotes(std::string_view text);

// "250ms", "2s", "1.5s", "1m": a number and a unit, nothing between them, at most a day.
[[nodiscard]] Parsed<checker::Milliseconds> parse_duration(std::string_view text);

// "10%": a whole number of per cent, 0 to 100.
[[nodiscard]] Parsed<std::uint32_t> parse_percent(std::string_view text);

struct StatusRange {
  std::uint16_t low;
  std::uint16_t high;
};
// "200-399" or "204": HTTP status codes from 100 to 599, inclusive.
[[nodiscard]] Parsed<StatusRange> parse_status_range(std::string_view text);

// What names services and namespaces: 1 to 63 of A-Z a-z 0-9 . _ -, not starting with a dot, since
// namespaces are directories. `what` begins the message ("service name").
[[nodiscard]] std::optional<Complaint> judge_name(std::string_view what, std::string_view name);

// The path of a file or a directory: absolute, at most 3072 bytes.
[[nodiscard]] std::optional<Complaint> judge_absolute_path(std::string_view what,
                                                           std::string_view path);
// A name to ask name servers for: labels of letters, digits, '-' and '_'; no address, no port.
[[nodiscard]] std::optional<Complaint> judge_dns_name(std::string_view what, std::string_view name);
// A name server: "ADDRESS" or "ADDRESS:PORT".
[[nodiscard]] std::optional<Complaint> judge_name_server(std::string_view text);

// An HTTP request target: starts with a slash, visible ASCII only, so that nothing can be smuggled
// into the request.
[[nodiscard]] std::optional<Complaint> judge_path(std::string_view path);
// A Host header: visible ASCII, at most 255 bytes.
[[nodiscard]] std::optional<Complaint> judge_host(std::string_view host);

// Looks a host name up. Returns the address (its port is ignored), or why there is none. May block
// for as long as the system's resolver likes.
using Resolver = std::function<Parsed<shm::Endpoint>(const std::string& host)>;
[[nodiscard]] Parsed<shm::Endpoint> resolve_with_system(const std::string& host);

// "10.0.0.1:80", "[::1]:80" or "backend1:80"; the name is looked up with `resolve`.
[[nodiscard]] Parsed<shm::Endpoint> parse_address(std::string_view text, const Resolver& resolve);

}  // namespace ballast::tools
