// What the end of a check means, and the request that it sends.
#include "engine/checker/probing/outcome.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <string>
#include <string_view>

namespace ballast::checker {
namespace {

HttpResponse response_of(std::string_view bytes) {
  HttpResponse response;
  response.feed(bytes);
  return response;
}

TEST_CASE("the request names the host as it was configured, unless another is asked for") {
  const InstanceSettings named{*shm::parse_endpoint("10.0.0.1:8080"), "backend1:8080", 1};
  CheckSettings check;
  CHECK(make_request(named, check) ==
        "GET / HTTP/1.1\r\nHost: backend1:8080\r\nUser-Agent: ballast\r\nAccept: */*\r\n\r\n");
  const InstanceSettings unnamed{named.endpoint, "", 1};
  CHECK(make_request(unnamed, check).find("\r\nHost: 10.0.0.1:8080\r\n") != std::string::npos);
  check.host = "shop.example";
  check.path = "/health";
  check.keep_alive = false;
  const std::string request = make_request(named, check);
  CHECK(request.starts_with("GET /health HTTP/1.1\r\nHost: shop.example\r\n"));
  CHECK(request.ends_with("\r\nConnection: close\r\n\r\n"));
}

TEST_CASE("the request has the headers that are asked for, and says when there is no body") {
  const InstanceSettings instance{*shm::parse_endpoint("10.0.0.1:80"), "10.0.0.1:80", 1};
  CheckSettings check;
  check.method = "POST";
  check.headers = {{"X-Probe", "1"}, {"user-agent", "mine"}};
  CHECK(make_request(instance, check) ==
        "POST / HTTP/1.1\r\nHost: 10.0.0.1:80\r\nAccept: */*\r\nX-Probe: 1\r\nuser-agent: mine\r\n"
        "Content-Length: 0\r\n\r\n");
}

TEST_CASE("a status passes if any of the ranges has it") {
  CheckSettings check;
  check.statuses = {{200, 204}, {301, 301}};
  for (const auto& [status, passes] :
       {std::pair{"200", true}, {"204", true}, {"205", false}, {"301", true}, {"302", false}}) {
    const auto response =
        response_of("HTTP/1.1 " + std::string(status) + " x\r\nContent-Length: 0\r\n\r\n");
    CHECK(judge_response(check, response).passed() == passes);
  }
}

TEST_CASE("a status is judged by the accepted range, ends included") {
  CheckSettings check;
  for (const auto& [status, reason] : {std::pair{"200", Reason::passed},
                                       {"399", Reason::passed},
                                       {"400", Reason::bad_status},
                                       {"199", Reason::none}}) {
    const auto response =
        response_of("HTTP/1.1 " + std::string(status) + " x\r\nContent-Length: 0\r\n\r\n");
    if (reason == Reason::none) {
      CHECK_FALSE(response.done());  // interim: no answer yet
      continue;
    }
    const CheckResult result = judge_response(check, response);
    CHECK(result.reason == reason);
    CHECK(std::to_string(result.detail) == status);
  }
  const CheckResult garbage = judge_response(check, response_of("220 mail\r\n"));
  CHECK(garbage.reason == Reason::bad_response);
  CHECK(garbage.detail == static_cast<std::int32_t>(HttpError::status_line));
}

TEST_CASE("each errno is this host's fault, the connection's or the answer's") {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL, EAGAIN, ECANCELED})
    CHECK(is_local(error));
  for (const int error : {0, ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EPIPE})
    CHECK_FALSE(is_local(error));
  CHECK(connect_failure(ECONNREFUSED) == Reason::connect_refused);
  CHECK(connect_failure(ETIMEDOUT) == Reason::connect_timeout);
  CHECK(connect_failure(ECONNRESET) == Reason::reset);
  CHECK(connect_failure(0) == Reason::closed);
  CHECK(connect_failure(EHOSTUNREACH) == Reason::unreachable);
  CHECK(response_failure(0) == Reason::closed);
  CHECK(response_failure(ETIMEDOUT) == Reason::timeout);
  CHECK(response_failure(ECONNRESET) == Reason::reset);
}

}  // namespace
}  // namespace ballast::checker
