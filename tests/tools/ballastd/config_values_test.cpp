// Durations, percentages, status ranges, names and addresses: what is taken and what is refused.
#include "tools/ballastd/config_values.hpp"

#include <doctest/doctest.h>

#include <string>

namespace tools = ballast::tools;
using ballast::shm::Endpoint;
using tools::Complaint;

namespace {

tools::Parsed<Endpoint> fake_resolver(const std::string& host) {
  if (host == "backend1") return *ballast::shm::parse_endpoint("10.9.8.7:1");
  if (host == "six") return *ballast::shm::parse_endpoint("[2001:db8::1]:1");
  return Complaint{"cannot resolve \"" + host + "\"", "correct the name"};
}

std::string complaint(const char* address) {
  const auto parsed = tools::parse_address(address, fake_resolver);
  REQUIRE_FALSE(parsed.ok());
  return parsed.complaint().message + ": " + parsed.complaint().advice;
}

}  // namespace

TEST_CASE("durations") {
  const auto ms = [](const char* text) { return tools::parse_duration(text).value().count(); };
  CHECK(ms("0ms") == 0);
  CHECK(ms("250ms") == 250);
  CHECK(ms("2s") == 2000);
  CHECK(ms("1.5s") == 1500);
  CHECK(ms("1m") == 60'000);
  CHECK(ms("24h") == 86'400'000);
  for (const char* bad :
       {"", "2", "s", "2 s", " 2s", "-1s", "2sec", "2S", "1e3s", "1..5s", "infs", "nans", "1.5",
        "0x10s", "99999999999999999999s", "25h", "0.5ms", "1s1s"}) {
    CAPTURE(bad);
    CHECK_FALSE(tools::parse_duration(bad).ok());
  }
  CHECK(tools::parse_duration("2 sec").complaint().message == "\"2 sec\" is not a duration");
}

TEST_CASE("percentages") {
  CHECK(tools::parse_percent("0%").value() == 0);
  CHECK(tools::parse_percent("10%").value() == 10);
  CHECK(tools::parse_percent("100%").value() == 100);
  for (const char* bad : {"", "%", "10", "101%", "-1%", "1.5%", "10 %", "%10", "99999999999%"}) {
    CAPTURE(bad);
    CHECK_FALSE(tools::parse_percent(bad).ok());
  }
}

TEST_CASE("status ranges") {
  CHECK(tools::parse_status_range("200-399").value().low == 200);
  CHECK(tools::parse_status_range("200-399").value().high == 399);
  CHECK(tools::parse_status_range("204").value().low == 204);
  CHECK(tools::parse_status_range("204").value().high == 204);
  for (const char* bad : {"", "-", "200-", "-399", "399-200", "99-200", "200-600", "2xx",
                          "200 - 399", "200-300-400", "70000"}) {
    CAPTURE(bad);
    CHECK_FALSE(tools::parse_status_range(bad).ok());
  }
}

TEST_CASE("names") {
  CHECK_FALSE(tools::judge_name("service name", "check-out_v1.2"));
  CHECK_FALSE(tools::judge_name("service name", std::string(63, 'a')));
  for (const std::string& bad : {std::string(), std::string(64, 'a'), std::string("a b"),
                                 std::string("a/b"), std::string(".."), std::string(".hidden"),
                                 std::string("caf\xC3\xA9"), std::string("a\0b", 3)}) {
    CAPTURE(bad);
    CHECK(tools::judge_name("service name", bad).has_value());
  }
}

TEST_CASE("nothing can be smuggled into a request") {
  CHECK_FALSE(tools::judge_path("/health?deep=1"));
  CHECK_FALSE(tools::judge_host("example.org:8080"));
  for (const char* bad : {"", "health", "/a b", "/a\r\nX: y", "/caf\xC3\xA9"}) {
    CAPTURE(bad);
    CHECK(tools::judge_path(bad).has_value());
  }
  CHECK(tools::judge_path("/" + std::string(1024, 'a')).has_value());
  for (const char* bad : {"", "a b", "a\r\nX: y", "\x7F"}) {
    CAPTURE(bad);
    CHECK(tools::judge_host(bad).has_value());
  }
  CHECK(tools::judge_host(std::string(256, 'a')).has_value());
}

TEST_CASE("addresses and names become endpoints") {
  const auto text = [](const char* address) {
    return tools::parse_address(address, fake_resolver).value().to_text();
  };
  CHECK(text("10.0.0.1:80") == "10.0.0.1:80");
  CHECK(text("[::1]:8080") == "[::1]:8080");
  CHECK(text("backend1:8080") == "10.9.8.7:8080");
  CHECK(text("six:443") == "[2001:db8::1]:443");
}

TEST_CASE("what is not an address says why") {
  CHECK(complaint("") == "address is empty: write HOST:PORT");
  CHECK(complaint("backend1") == "\"backend1\" has no port: add one, such as \"backend1:80\"");
  CHECK(complaint("[::1]") == "\"[::1]\" has no port: add one, such as \"[::1]:80\"");
  CHECK(complaint("10.0.0.1:") == "port \"\" is wrong: use a number from 1 to 65535");
  CHECK(complaint("10.0.0.1:0") == "port \"0\" is wrong: use a number from 1 to 65535");
  CHECK(complaint("10.0.0.1:65536") == "port \"65536\" is wrong: use a number from 1 to 65535");
  CHECK(complaint("10.0.0.1:http") == "port \"http\" is wrong: use a number from 1 to 65535");
  CHECK(complaint(":80") == "\":80\" has no host: write HOST:PORT");
  CHECK(complaint("10.0.0.300:80") ==
        "\"10.0.0.300\" is not an IPv4 address: write four numbers from 0 to 255, such as "
        "\"10.0.0.1:80\"");
  CHECK(complaint("10.1:80") ==
        "\"10.1\" is not an IPv4 address: write four numbers from 0 to 255, such as "
        "\"10.0.0.1:80\"");
  CHECK(complaint("::1:80") ==
        "\"::1:80\" has more than one colon: put an IPv6 address in brackets, such as "
        "\"[::1]:80\"");
  CHECK(complaint("[fe80::zz]:80") ==
        "\"[fe80::zz]\" is not an IPv6 address: write one such as \"[::1]:80\"");
  CHECK(complaint("http://a:80") ==
        "\"http://a:80\" is a URL, not an address: write HOST:PORT without the scheme");
  CHECK(complaint("/run/app.sock") ==
        "\"/run/app.sock\" is a path, and only TCP addresses are checked: write HOST:PORT");
  CHECK(complaint("a b:80") ==
        "\"a b\" is neither a host name nor an address: write HOST:PORT, such as "
        "\"backend1:80\" or \"10.0.0.1:80\"");
  CHECK(complaint("nowhere:80") == "cannot resolve \"nowhere\": correct the name");
}

TEST_CASE("the system's resolver knows this machine and not a reserved name") {
  const auto here = tools::resolve_with_system("localhost");
  REQUIRE(here.ok());
  const std::string text = here.value().to_text();
  CHECK((text == "127.0.0.1:0" || text == "[::1]:0"));
  // RFC 6761 reserves .invalid: it must never resolve.
  const auto nowhere = tools::resolve_with_system("ballast.invalid");
  REQUIRE_FALSE(nowhere.ok());
  CHECK(nowhere.complaint().message.starts_with("cannot resolve \"ballast.invalid\" ("));
}
