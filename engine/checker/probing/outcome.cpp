// The tables behind outcome.hpp.
#include "engine/checker/probing/outcome.hpp"

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

std::string printable(std::string_view bytes) {
  std::string text(bytes.substr(0, kMaxNoteBytes));
  const auto is_blank = [](char c) { return c == ' ' || c == '\r' || c == '\n' || c == '\t'; };
  while (!text.empty() && is_blank(text.back()))
    text.pop_back();
  std::replace_if(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '.');
  return text;
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

std::string make_request(const InstanceSettings& instance, const CheckSettings& check) {
  const std::string written = instance.text.empty() ? instance.endpoint.to_text() : instance.text;
  const std::string& host = check.host.empty() ? written : check.host;
  return "GET " + (check.path.empty() ? "/" : check.path) + " HTTP/1.1\r\nHost: " + host +
         "\r\nUser-Agent: ballast\r\nAccept: */*\r\n" +
         (check.keep_alive ? "" : "Connection: close\r\n") + "\r\n";
}

}  // namespace ballast::checker
