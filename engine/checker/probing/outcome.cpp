// The tables behind outcome.hpp.
#include "engine/checker/probing/outcome.hpp"

#include <strings.h>

#include <algorithm>
#include <cerrno>

#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

bool is_local(int error) noexcept {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:  // all local ports to that address are in use
    case EADDRINUSE:
    case EAGAIN:
    case ECANCELED:
      return true;
    default:
      return false;
  }
}

Reason connect_failure(int error) noexcept {
  switch (error) {
    case ECONNREFUSED:
      return Reason::connect_refused;
    case ETIMEDOUT:
      return Reason::connect_timeout;
    case ECONNRESET:
    case EPIPE:
      return Reason::reset;
    case 0:
      return Reason::closed;
    case kTlsFailed:
      return Reason::tls_failed;
    case kBadCertificate:
      return Reason::bad_certificate;
    default:
      return Reason::unreachable;
  }
}

Reason response_failure(int error) noexcept {
  switch (error) {
    case 0:
      return Reason::closed;
    case ETIMEDOUT:
      return Reason::timeout;
    case kTlsFailed:
      return Reason::tls_failed;
    case kBadCertificate:
      return Reason::bad_certificate;
    default:
      return Reason::reset;
  }
}

CheckResult judge_response(const CheckSettings& check, const HttpResponse& response) {
  if (response.failed()) {
    return {Reason::bad_response, static_cast<std::int32_t>(response.error()), {}};
  }
  const int status = response.status();
  const bool accepted = std::any_of(
      check.statuses.begin(), check.statuses.end(),
      [status](const StatusRange& range) { return status >= range.low && status <= range.high; });
  return {accepted ? Reason::passed : Reason::bad_status, status, {}};
}

RequestText::RequestText(const CheckSettings& check)
    : before_host_(check.method + " " + (check.path.empty() ? "/" : check.path) +
                   " HTTP/1.1\r\nHost: ") {
  std::string& rest = after_host_;
  rest = "\r\n";
  const auto add = [&](const std::string& name, const std::string& value) {
    rest.append(name).append(": ").append(value).append("\r\n");
  };
  const auto add_unless_given = [&](const char* name, const char* value) {
    const bool given = std::any_of(
        check.headers.begin(), check.headers.end(),
        [&](const auto& header) { return strcasecmp(header.first.c_str(), name) == 0; });
    if (!given) add(name, value);
  };
  add_unless_given("User-Agent", "ballast");
  add_unless_given("Accept", "*/*");
  for (const auto& [name, value] : check.headers)
    add(name, value);
  // There is never a body; these methods must say so (RFC 9110, section 8.6).
  if (check.method == "POST" || check.method == "PUT") add("Content-Length", "0");
  if (!check.keep_alive) add("Connection", "close");
  rest += "\r\n";
  if (!check.host.empty()) whole_ = std::make_shared<const std::string>(for_host(check.host));
}

std::string RequestText::for_host(std::string_view host) const {
  std::string text;
  text.reserve(before_host_.size() + host.size() + after_host_.size());
  return text.append(before_host_).append(host).append(after_host_);
}

std::string make_request(const InstanceSettings& instance, const CheckSettings& check) {
  const RequestText text(check);
  return text.by_instance() ? text.for_host(host_of(instance)) : *text.whole();
}

std::string host_of(const InstanceSettings& instance) {
  return instance.text.empty() ? instance.endpoint.to_text() : instance.text;
}

}  // namespace ballast::checker
