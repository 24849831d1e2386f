// [[service.NAME.sources]]: what is read, and each error's line, caret and advice as people see
// them.
#include <doctest/doctest.h>

#include <string>

#include "engine/checker/discovery/source.hpp"
#include "tests/support/skip.hpp"
#include "tests/tools/ballastd/config_errors.hpp"

using ballast::checker::SourceSettings;
using ballast::tests::errors_of;
using ballast::tests::read_text;

namespace {

// The first line of the errors of one source.
std::string error_of(const std::string& source) {
  const std::string all = errors_of("[service.web]\nsources = [{ " + source + " }]\n");
  return all.substr(0, all.find('\n'));
}

bool missing() {
  if (ballast::checker::has_dns_sources()) return false;
  ballast::tests::skip("built without DNS sources");
  return true;
}

}  // namespace

TEST_CASE("sources take the place of instances, or stand beside them") {
  if (missing()) return;
  const auto read = read_text(R"([service.web]
[[service.web.sources]]
file = "/etc/ballast/web.json"
[[service.web.sources]]
dns = "backend.example.com"
port = 8080
servers = ["10.0.0.53", "10.0.0.54:5353", "fd00::53", "[fd00::54]:5353"]
[[service.web.sources]]
srv = "_http._tcp.example.com."
believe_empty = true
[service.api]
instances = ["1.1.1.1:1"]
sources = [{ file = "/a" }]
)");
  REQUIRE(read.settings);
  const auto& sources = read.settings->services[0].sources;
  CHECK(read.settings->services[0].instances.empty());
  REQUIRE(sources.size() == 3);
  CHECK(sources[0].kind == SourceSettings::Kind::file);
  CHECK(sources[0].path == "/etc/ballast/web.json");
  CHECK_FALSE(sources[0].believe_empty);
  CHECK(sources[1].kind == SourceSettings::Kind::dns_address);
  CHECK(sources[1].name == "backend.example.com");
  CHECK(sources[1].port == 8080);
  CHECK(sources[1].servers.size() == 4);
  CHECK(sources[2].kind == SourceSettings::Kind::dns_srv);
  CHECK(sources[2].name == "_http._tcp.example.com.");
  CHECK(sources[2].believe_empty);
  CHECK(read.settings->services[1].instances.size() == 1);
  CHECK(read.settings->services[1].sources.size() == 1);
}

TEST_CASE("wrong sources, with line and caret") {
  if (missing()) return;
  CHECK(
      errors_of(R"~([service.web]
[[service.web.sources]]
dns = "backend.example.com"
[[service.web.sources]]
file = "/x.json"
dns = "x"
[[service.web.sources]]
believe_empty = true
[[service.web.sources]]
fiel = "/x"
[service.api]
sources = [{ file = "/a" }, { file = "/a" }, 5]
instances = []
[service.b]
[service.c]
file = "/x"
)~") ==
      R"~(f.toml:3:7: a name in DNS has addresses, but no port: add port = 80, or whatever the instances listen on
   |
 3 | dns = "backend.example.com"
   |       ^~~~~~~~~~~~~~~~~~~~~ here
f.toml:6:1: a source has "file" and "dns": make two sources of it
   |
 6 | dns = "x"
   | ^~~ here
f.toml:7:1: this source does not say where to look: add file = "/PATH", dns = "NAME" or srv = "NAME"
   |
 7 | [[service.web.sources]]
   | ^~~~~~~~~~~~~~~~~~~~~~~ here
f.toml:10:1: unknown key "fiel" in [[service.web.sources]]: did you mean "file"?
    |
 10 | fiel = "/x"
    | ^~~~ file
f.toml:12:29: the same source twice: remove one of them
    |
 12 | sources = [{ file = "/a" }, { file = "/a" }, 5]
    |                             ^~~~~~~~~~~~~~~ here
f.toml:12:46: a source is a whole number: it must be a table: { file = "/PATH" }
    |
 12 | sources = [{ file = "/a" }, { file = "/a" }, 5]
    |                                              ^ here
f.toml:13:13: instances of service "api" is empty: leave the key out; they come from sources
    |
 13 | instances = []
    |             ^~ here
f.toml:14:10: service "b" has no instances: add instances = ["HOST:PORT"]
    |
 14 | [service.b]
    |          ^ to this service
f.toml:16:1: unknown key "file" in [service.c]: it belongs in [[service.c.sources]]
    |
 16 | file = "/x"
    | ^~~~)~");
}

TEST_CASE("what each key refuses") {
  if (missing()) return;
  CHECK(error_of(R"(file = "x.json")") ==
        R"(f.toml:2:21: file "x.json" is not an absolute path: start it with a slash)");
  CHECK(error_of(R"(file = "/x", port = 80)") ==
        "f.toml:2:27: port has no meaning unless the source is a name in DNS: remove it, or write "
        "the port with each target");
  CHECK(error_of(R"(file = "/x", servers = ["1.1.1.1"])").find("servers has no meaning unless") !=
        std::string::npos);
  CHECK(
      error_of(R"(srv = "_a._tcp.b", port = 80)") ==
      "f.toml:2:33: port has no meaning unless the source is of kind \"dns\": remove it, or leave "
      "it to the answer, which has the ports");
  const auto dns = [](const std::string& name) {
    const std::string error = error_of("port = 80, dns = \"" + name + "\"");
    return error.substr(std::min(error.size(), error.find(": ") + 2));
  };
  CHECK(dns("a.test:80") ==
        R"(dns "a.test:80" is not a name in DNS: the name goes without a port)");
  CHECK(dns("10.0.0.1") == R"(dns "10.0.0.1" is an address, not a name: put it into instances)");
  CHECK(dns("fd00::1").find("the name goes without a port") != std::string::npos);
  const std::string advice = R"( is not a name in DNS: write one such as "backend.example.com")";
  CHECK(dns("a..b") == R"(dns "a..b")" + advice);
  CHECK(dns("") == R"(dns "")" + advice);
  CHECK(dns(".") == R"(dns ".")" + advice);
  CHECK(dns("a b") == R"(dns "a b")" + advice);
  CHECK(dns(std::string(64, 'a')).find("is not a name in DNS") != std::string::npos);
  CHECK(dns(std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." +
            std::string(63, 'd'))
            .find("is not a name in DNS") != std::string::npos);
  const auto servers = [](const std::string& list) {
    const std::string error = error_of(R"(port = 80, dns = "a", servers = )" + list);
    return error.substr(error.find(": ") + 2);
  };
  CHECK(servers(R"(["dns.test"])") ==
        R"("dns.test" is not the address of a name server: write ADDRESS or ADDRESS:PORT, such as )"
        R"("10.0.0.53" or "[fd00::53]:5353")");
  CHECK(
      servers("[]") ==
      "servers is no list of name servers: write [\"ADDRESS\"], or leave it out for the system's");
  CHECK(servers("[1]") ==
        R"(a name server is a whole number: it must be a string: "ADDRESS" or "ADDRESS:PORT")");
  CHECK(servers(R"(["1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1",)"
                R"("1.1.1.1","1.1.1.1"])") == "9 name servers: use at most 8");
  CHECK(errors_of("[service.a]\nsources = []\n").find("0 sources: use 1 to 16") !=
        std::string::npos);
  CHECK(errors_of("[service.a]\nsources = \"/a\"\n")
            .find("sources is a string: it must be tables: [[service.a.sources]]") !=
        std::string::npos);
}
