// The command line of ballastd.
#include "tools/ballastd/options.hpp"

#include <doctest/doctest.h>

#include <vector>

using ballast::tools::Options;

namespace {

Options parse(const std::vector<const char*>& arguments) {
  const auto parsed = ballast::tools::parse_options(arguments);
  REQUIRE_MESSAGE(parsed.options, parsed.error);
  return *parsed.options;
}

std::string error_of(const std::vector<const char*>& arguments) {
  const auto parsed = ballast::tools::parse_options(arguments);
  CHECK_FALSE(parsed.options);
  return parsed.error;
}

}  // namespace

TEST_CASE("what can be asked for") {
  const auto run =
      parse({"--config", "f.toml", "--directory=/run/b", "--state", "/var/lib/b", "--handover"});
  CHECK(run.state == "/var/lib/b");
  CHECK(run.mode == Options::Mode::run);
  CHECK(run.config == "f.toml");
  CHECK(run.directory == "/run/b");
  CHECK(run.handover);
  CHECK_FALSE(parse({"--config=f.toml"}).handover);
  CHECK(parse({"--check", "f.toml"}).mode == Options::Mode::check);
  CHECK(parse({"--defaults"}).mode == Options::Mode::defaults);
  CHECK(parse({"--help"}).mode == Options::Mode::help);
  CHECK(parse({"-h"}).mode == Options::Mode::help);
  CHECK(parse({"--version"}).mode == Options::Mode::version);
}

TEST_CASE("wrong usage says what to do") {
  CHECK(error_of({}) == "no configuration: give one with --config FILE");
  CHECK(error_of({"--config"}) == "--config needs a value: --config ballast.toml");
  CHECK(error_of({"--directory"}) == "--directory needs a value: --directory /run/ballast");
  CHECK(error_of({"--config", "a", "--check", "b"}) ==
        "more than one configuration: give one file");
  CHECK(error_of({"--chek", "a"}) == "unknown argument \"--chek\": did you mean --check?");
  CHECK(error_of({"ballast.toml"}) == "unknown argument \"ballast.toml\": see ballastd --help");
  CHECK(error_of({"--handover=yes"}) == "--handover takes no value: leave out \"=yes\"");
  CHECK(error_of({"--config", "a", "--state", "run"}) ==
        "--state run is not an absolute path: start it with /");
  CHECK(error_of({"--state"}) == "--state needs a value: --state /var/lib/ballast");
  CHECK(error_of({"--config", "a", "--directory", "run"}) ==
        "--directory run is not an absolute path: start it with /");
}

TEST_CASE("the directory for state is the first that systemd names") {
  using ballast::tools::state_directory_of;
  CHECK(state_directory_of(nullptr).empty());
  CHECK(state_directory_of("").empty());
  CHECK(state_directory_of("relative").empty());
  CHECK(state_directory_of("/var/lib/ballast") == "/var/lib/ballast");
  CHECK(state_directory_of("/var/lib/a:/var/lib/b") == "/var/lib/a");
}
