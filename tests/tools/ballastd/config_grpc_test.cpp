// [service.NAME.check] of kind "grpc": what it becomes, and what can be wrong with it.
#include <doctest/doctest.h>

#include <string>

#include "tests/tools/ballastd/config_errors.hpp"

using ballast::tests::errors_of;
using ballast::tests::read_text;

namespace {

std::string grpc_check(const std::string& keys) {
  return "[service.a]\ninstances = [\"1.1.1.1:1\"]\n[service.a.check]\nkind = \"grpc\"\n" + keys;
}

TEST_CASE("every key") {
  const auto plain = read_text(grpc_check(""));
  REQUIRE(plain.settings.has_value());
  CHECK(plain.settings->services[0].check.kind == ballast::checker::CheckKind::grpc);
  CHECK(plain.settings->services[0].check.grpc_service.empty());
  CHECK(plain.settings->services[0].check.grpc_watch);
  const auto full = read_text(
      grpc_check("grpc_service = \"shop.v1.Checkout\"\nwatch = false\nhost = \"shop:443\"\n"
                 "[service.a.check.tls]\nverify = false\n"));
  REQUIRE(full.settings.has_value());
  const auto& check = full.settings->services[0].check;
  CHECK(check.grpc_service == "shop.v1.Checkout");
  CHECK_FALSE(check.grpc_watch);
  CHECK(check.host == "shop:443");
  CHECK(check.tls.enabled);
}

TEST_CASE("wrong words") {
  CHECK(errors_of(grpc_check("grpc_service = \"\"\nwatch = 1\nhost = \"a b\"\npath = \"/\"\n")) ==
        R"~(f.toml:5:16: grpc_service is empty: leave it out for the whole server
   |
 5 | grpc_service = ""
   |                ^~ here
f.toml:6:9: watch is a whole number: it must be true or false
   |
 6 | watch = 1
   |         ^ here
f.toml:7:8: host has a character that is not allowed in a header: write a host name, with a port if the server wants one
   |
 7 | host = "a b"
   |        ^~~~~ here
f.toml:8:1: path has no meaning unless kind is "http": remove it, or set kind = "http"
   |
 8 | path = "/"
   | ^~~~ here)~");
  CHECK(errors_of(grpc_check("grpc_service = \"a b\"\n")).find("no service has in its name") !=
        std::string::npos);
  CHECK(errors_of(grpc_check("grpc_service = \"" + std::string(513, 'x') + "\"\n"))
            .find("is 513 bytes long: use at most 512") != std::string::npos);
}

}  // namespace
