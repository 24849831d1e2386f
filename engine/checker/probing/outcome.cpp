// The tables behind outcome.hpp.
#include "engine/checker/probing/outcome.hpp"

#include <algorithm>
#include <cerrno>

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
    default:
      return Reason::unreachable;
  }
}

Reason response_failure(int error) noexcept {
  if (error == 0) return Reason::closed;
  return error == ETIMEDOUT ? Reason::timeout : Reason::reset;
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
