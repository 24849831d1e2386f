// Durations, percentages, status ranges, names and addresses; see config_values.hpp.
#include "tools/ballastd/config_values.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include "shm/names.hpp"

namespace ballast::tools {
namespace {

constexpr std::size_t kMaxHostBytes = 253;  // RFC 1035, without the final dot
constexpr std::size_t kMaxPathBytes = 1024;
constexpr std::size_t kMaxFilePathBytes = 3072;  // PATH_MAX less the file names in a directory
constexpr std::size_t kMaxLabelBytes = 63;       // of a name in DNS
constexpr std::size_t kMaxHostHeaderBytes = 255;
constexpr double kMillisecondsADay = 86'400'000.0;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
bool is_visible(char c) {
  return c > 0x20 && c < 0x7F;
}

template <typename T>
std::optional<T> whole_number(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

Complaint bad_port(std::string_view port) {
  return {"port " + in_quotes(port) + " is wrong", "use a number from 1 to 65535"};
}

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 80;
  std::string out = "\"";
  for (const char c : text.substr(0, kShown)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return out + (text.size() > kShown ? "...\"" : "\"");
}

Parsed<checker::Milliseconds> parse_duration(std::string_view text) {
  const Complaint unparsable{in_quotes(text) + " is not a duration",
                             "write a number and a unit, such as \"250ms\", \"2s\" or \"1m\""};
  const auto unit_at = std::find_if(text.begin(), text.end(), is_letter);
  const std::string_view number = text.substr(0, static_cast<std::size_t>(unit_at - text.begin()));
  const std::string_view unit = text.substr(number.size());
  const double factor = unit == "ms"  ? 1
                        : unit == "s" ? 1000
                        : unit == "m" ? 60'000
                        : unit == "h" ? 3'600'000
                                      : 0;
  double value = 0;
  const char* end = number.data() + number.size();
  const auto [stop, error] = std::from_chars(number.data(), end, value, std::chars_format::fixed);
  if (factor == 0 || number.empty() || !is_digit(number.front()) || error != std::errc{} ||
      stop != end) {
    return unparsable;
  }
  const double milliseconds = value * factor;
  if (milliseconds > kMillisecondsADay) {
    return Complaint{in_quotes(text) + " is too long", "use at most 24h"};
  }
  if (milliseconds != static_cast<double>(static_cast<std::int64_t>(milliseconds))) {
    return Complaint{in_quotes(text) + " is finer than a millisecond",
                     "use whole milliseconds, such as \"1ms\""};
  }
  return checker::Milliseconds(static_cast<std::int64_t>(milliseconds));
}

Parsed<std::uint32_t> parse_percent(std::string_view text) {
  if (!text.empty() && text.back() == '%') {
    const auto value = whole_number<std::uint32_t>(text.substr(0, text.size() - 1));
    if (value && *value <= 100) return *value;
  }
  return Complaint{in_quotes(text) + " is not a percentage",
                   "write a whole number from 0 to 100 and %, such as \"10%\""};
}

Parsed<StatusRange> parse_status_range(std::string_view text) {
  const auto dash = text.find('-');
  const auto low = whole_number<std::uint16_t>(text.substr(0, dash));
  const auto high =
      dash == std::string_view::npos ? low : whole_number<std::uint16_t>(text.substr(dash + 1));
  if (!low || !high) {
    return Complaint{in_quotes(text) + " is not a range of HTTP status codes",
                     "write one such as \"200-399\" or \"204\""};
  }
  if (*low < 100 || *high > 599) {
    return Complaint{in_quotes(text) + " is not a range of HTTP status codes",
                     "use codes from 100 to 599"};
  }
  if (*low > *high) {
    return Complaint{in_quotes(text) + " is an empty range", "put the lower code first"};
  }
  return StatusRange{*low, *high};
}

std::optional<Complaint> judge_name(std::string_view what, std::string_view name) {
  const std::string start = std::string(what) + " " + in_quotes(name);
  static_assert(checker::kMaxServiceNameBytes == shm::kMaxNameBytes);
  switch (shm::judge_name(name)) {
    case shm::NameFault::none:
      break;
    case shm::NameFault::empty:
      return Complaint{std::string(what) + " is empty", "give it a name"};
    case shm::NameFault::too_long:
      return Complaint{start + " is " + std::to_string(name.size()) + " bytes long",
                       "use at most " + std::to_string(shm::kMaxNameBytes)};
    case shm::NameFault::bad_character:
      return Complaint{start + " has a character that is not allowed",
                       "use letters, digits, '.', '_' and '-'"};
    case shm::NameFault::leading_dot:
      return Complaint{start + " starts with a dot", "start it with a letter or a digit"};
  }
  return std::nullopt;
}

std::optional<Complaint> judge_absolute_path(std::string_view what, std::string_view path) {
  if (path.empty() || path.front() != '/') {
    return Complaint{std::string(what) + " " + in_quotes(path) + " is not an absolute path",
                     "start it with a slash"};
  }
  if (path.size() > kMaxFilePathBytes || path.find('\0') != std::string_view::npos) {
    return Complaint{std::string(what) + " is not a usable path",
                     "use at most " + std::to_string(kMaxFilePathBytes) + " bytes"};
  }
  return std::nullopt;
}

std::optional<Complaint> judge_dns_name(std::string_view what, std::string_view name) {
  const Complaint bad{std::string(what) + " " + in_quotes(name) + " is not a name in DNS",
                      "write one such as \"backend.example.com\""};
  in_addr ignored;
  if (shm::parse_endpoint(std::string(name) + ":1") ||
      inet_aton(std::string(name).c_str(), &ignored) != 0) {
    return Complaint{std::string(what) + " " + in_quotes(name) + " is an address, not a name",
                     "put it into instances"};
  }
  if (const auto colon = name.find(':'); colon != std::string_view::npos) {
    return Complaint{bad.message, "the name goes without a port"};
  }
  std::string_view rest = name;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  if (rest.empty() || rest.size() > kMaxHostBytes) return bad;
  while (true) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    const bool fine = std::all_of(label.begin(), label.end(), [](char c) {
      return is_letter(c) || is_digit(c) || c == '-' || c == '_';
    });
    if (label.empty() || label.size() > kMaxLabelBytes || !fine) return bad;
    if (label.size() == rest.size()) return std::nullopt;
    rest.remove_prefix(label.size() + 1);
  }
}

std::optional<Complaint> judge_name_server(std::string_view text) {
  const std::string server(text);
  const bool bare_ipv6 = text.find(':') != text.rfind(':') && text.find('[') == std::string::npos;
  if (shm::parse_endpoint(server) ||
      shm::parse_endpoint(bare_ipv6 ? "[" + server + "]:53" : server + ":53")) {
    return std::nullopt;
  }
  return Complaint{in_quotes(text) + " is not the address of a name server",
                   "write ADDRESS or ADDRESS:PORT, such as \"10.0.0.53\" or \"[fd00::53]:5353\""};
}

std::optional<Complaint> judge_path(std::string_view path) {
  if (path.empty() || path.front() != '/') {
    return Complaint{"path " + in_quotes(path) + " does not start with a slash",
                     "write it as in a request, such as \"/health\""};
  }
  if (!std::all_of(path.begin(), path.end(), is_visible)) {
    return Complaint{"path has a character that is not allowed in a request",
                     "percent-encode it: a space is %20"};
  }
  if (path.size() > kMaxPathBytes) {
    return Complaint{"path is " + std::to_string(path.size()) + " bytes long",
                     "use at most " + std::to_string(kMaxPathBytes)};
  }
  return std::nullopt;
}

std::optional<Complaint> judge_host(std::string_view host) {
  if (host.empty()) {
    return Complaint{"host is empty", "give the Host header to send, or leave the key out"};
  }
  if (!std::all_of(host.begin(), host.end(), is_visible)) {
    return Complaint{"host has a character that is not allowed in a header",
                     "write a host name, with a port if the server wants one"};
  }
  if (host.size() > kMaxHostHeaderBytes) {
    return Complaint{"host is " + std::to_string(host.size()) + " bytes long",
                     "use at most " + std::to_string(kMaxHostHeaderBytes)};
  }
  return std::nullopt;
}

Parsed<shm::Endpoint> resolve_with_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &raw);
  if (error != 0) {
    const std::string reason = error == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(error);
    return Complaint{"cannot resolve " + in_quotes(host) + " (" + reason + ")",
                     "correct the name, add it to DNS or /etc/hosts, or write the address"};
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(raw, &freeaddrinfo);
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    shm::Endpoint endpoint;
    if (entry->ai_family == AF_INET) {
      sockaddr_in in{};
      std::memcpy(&in, entry->ai_addr, sizeof in);
      endpoint.family = shm::Family::ipv4;
      std::memcpy(endpoint.address.data(), &in.sin_addr, 4);
      return endpoint;
    }
    if (entry->ai_family == AF_INET6) {
      sockaddr_in6 in{};
      std::memcpy(&in, entry->ai_addr, sizeof in);
      endpoint.family = shm::Family::ipv6;
      std::memcpy(endpoint.address.data(), &in.sin6_addr, 16);
      return endpoint;
    }
  }
  return Complaint{in_quotes(host) + " has no IPv4 or IPv6 address", "write the address"};
}

Parsed<shm::Endpoint> parse_address(std::string_view text, const Resolver& resolve) {
  if (text.empty()) return Complaint{"address is empty", "write HOST:PORT"};
  if (text.find("://") != std::string_view::npos) {
    return Complaint{in_quotes(text) + " is a URL, not an address",
                     "write HOST:PORT without the scheme"};
  }
  if (text.front() == '/' || text.starts_with("unix:")) {
    return Complaint{in_quotes(text) + " is a path, and only TCP addresses are checked",
                     "write HOST:PORT"};
  }
  const bool bracketed = text.front() == '[';
  const auto colons = std::count(text.begin(), text.end(), ':');
  if (!bracketed && colons > 1) {
    return Complaint{in_quotes(text) + " has more than one colon",
                     "put an IPv6 address in brackets, such as \"[::1]:80\""};
  }
  const auto bracket = text.rfind(']');
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos ||
      (bracketed && bracket != std::string_view::npos && colon < bracket)) {
    return Complaint{in_quotes(text) + " has no port",
                     "add one, such as \"" + std::string(text.substr(0, 80)) + ":80\""};
  }
  const std::string host(text.substr(0, colon));
  const std::string_view port_text = text.substr(colon + 1);
  const auto port = whole_number<std::uint16_t>(port_text);
  if (!port || *port == 0) return bad_port(port_text);
  if (host.empty()) return Complaint{in_quotes(text) + " has no host", "write HOST:PORT"};

  if (const auto numeric = shm::parse_endpoint(text)) return *numeric;
  if (bracketed) {
    return Complaint{in_quotes(host) + " is not an IPv6 address", "write one such as \"[::1]:80\""};
  }
  // inet_aton also takes "10.1" and "0x7f.1": whoever writes such a thing has mistyped it.
  in_addr ignored;
  const auto dotted = [](char c) { return is_digit(c) || c == '.'; };
  if (std::all_of(host.begin(), host.end(), dotted) || inet_aton(host.c_str(), &ignored) != 0) {
    return Complaint{in_quotes(host) + " is not an IPv4 address",
                     "write four numbers from 0 to 255, such as \"10.0.0.1:80\""};
  }
  const auto in_name = [](char c) {
    return is_letter(c) || is_digit(c) || c == '.' || c == '-' || c == '_';
  };
  if (host.size() > kMaxHostBytes || !std::all_of(host.begin(), host.end(), in_name)) {
    return Complaint{in_quotes(host) + " is neither a host name nor an address",
                     "write HOST:PORT, such as \"backend1:80\" or \"10.0.0.1:80\""};
  }
  const auto resolved = resolve(host);
  if (!resolved.ok()) return resolved.complaint();
  shm::Endpoint endpoint = resolved.value();
  endpoint.port = *port;
  return endpoint;
}

}  // namespace ballast::tools
