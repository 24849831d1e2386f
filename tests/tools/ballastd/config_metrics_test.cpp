// The table [metrics], right and wrong.
#include <doctest/doctest.h>

#include "tests/tools/ballastd/config_errors.hpp"

using ballast::tests::errors_of;
using ballast::tests::read_text;

namespace {

constexpr const char* kService = "[service.a]\ninstances = [\"127.0.0.1:80\"]\n";

}  // namespace

TEST_CASE("without it there are no metrics") {
  const auto result = read_text(kService);
  REQUIRE(result.settings);
  CHECK(result.settings->metrics_listen.empty());
  CHECK(result.settings->metrics_max_instances == 2000);
}

TEST_CASE("where to listen, and how many instances to show") {
  const auto result =
      read_text(std::string("[metrics]\nlisten = \"[::1]:9464\"\nmax_instances = 0\n") + kService);
  REQUIRE(result.settings);
  CHECK(result.settings->metrics_listen == "[::1]:9464");
  CHECK(result.settings->metrics_max_instances == 0);
}

TEST_CASE("what is wrong with it") {
  CHECK(
      errors_of(std::string(R"~([metrics]
listen = "localhost:9464"
max_instances = 100000
lisen = 1
)~") + kService) ==
      R"~(f.toml:2:10: "localhost" is a name: write an address of this host, such as "127.0.0.1:9464"
   |
 2 | listen = "localhost:9464"
   |          ^~~~~~~~~~~~~~~~ here
f.toml:3:17: max_instances 100000 is out of range: use 1 to 60000, or 0 for sums of services only
   |
 3 | max_instances = 100000
   |                 ^~~~~~ here
f.toml:4:1: unknown key "lisen" in [metrics]: did you mean "listen"?
   |
 4 | lisen = 1
   | ^~~~~ listen)~");
  CHECK(errors_of(std::string("[metrics]\nlisten = 9464\n") + kService) ==
        R"~(f.toml:2:10: listen is a whole number: it must be an address, "127.0.0.1:9464"
   |
 2 | listen = 9464
   |          ^~~~ here)~");
}

TEST_CASE("its keys elsewhere are sent home") {
  const std::string all =
      errors_of(std::string("[ballast]\nlisten = \"127.0.0.1:1\"\n") + kService);
  CHECK_MESSAGE(all.find("belongs in [metrics]") != std::string::npos, all);
}
