// The command line: what it says to wrong usage, and where it looks.
#include "tools/ballast/cli.hpp"

#include <doctest/doctest.h>

#include "tests/support/published.hpp"

namespace tools = ballast::tools;

namespace {

tools::CliOutput run(std::vector<std::string> arguments, bool terminal = false) {
  return tools::run_cli(std::move(arguments), {terminal, 0});
}

}  // namespace

TEST_CASE("wrong usage is answered in one line with the nearest right word") {
  const auto errors = [](std::vector<std::string> arguments) {
    const auto output = run(std::move(arguments));
    CHECK(output.status == 2);
    CHECK(output.out.empty());
    return output.errors;
  };
  CHECK(errors({"dmup"}) == "ballast: unknown command \"dmup\": did you mean dump?\n");
  CHECK(errors({"worker"}) == "ballast: unknown command \"worker\": did you mean workers?\n");
  CHECK(errors({"xylophone"}) == "ballast: unknown command \"xylophone\": see ballast --help\n");
  CHECK(errors({"dump", "--jsn"}) ==
        "ballast: unexpected argument \"--jsn\": did you mean --json?\n");
  CHECK(errors({"dump", "a", "b"}) == "ballast: unexpected argument \"b\": see ballast --help\n");
  CHECK(errors({"dump", "a/b"}) == "ballast: \"a/b\" is a path: give it with --dir\n");
  CHECK(errors({"dump", ".."}) ==
        "ballast: no namespace can have that name: use 1 to 63 letters, digits, '.', '_' and '-', "
        "and no dot in front\n");
  CHECK(errors({"bridge", "haproxy", ".."}) == errors({"dump", ".."}));
  CHECK(errors({"dump", "--dir", "/x", "y"}) ==
        "ballast: both --dir and a namespace are given: leave one out\n");
  CHECK(errors({}).find("Usage: ballast") != std::string::npos);
}

TEST_CASE("help and version") {
  CHECK(run({"--version"}).out.starts_with("ballast 0."));
  CHECK(run({"--version"}).status == 0);
  CHECK(run({"--help"}).out.find("dump") != std::string::npos);
  CHECK(run({"--help"}).status == 0);
  CHECK(run({"dump", "--help"}).out.find("--json") != std::string::npos);
}

TEST_CASE("a namespace that is not there") {
  const auto output = run({"dump", "no-such-namespace"});
  CHECK(output.status == 1);
  CHECK(output.errors.starts_with(
      "ballast: no Ballast files in /dev/shm/ballast/no-such-namespace: start ballastd, or say "
      "where they are with --dir"));
}

TEST_CASE("a directory is read and rendered") {
  using ballast::engine::Strategy;
  const ballast::tests::Published published(
      ballast::tests::settings_of({ballast::tests::service_of("checkout", Strategy::maglev, 2)}));
  const auto text = run({"dump", "--dir", published.directory()});
  CHECK(text.status == 0);
  CHECK(text.errors.empty());
  CHECK(text.out.find("service checkout: maglev") != std::string::npos);
  CHECK(run({"dump", "--json", "--dir", published.directory()}).out.starts_with("{\n"));
  CHECK(run({"workers", "--dir=" + published.directory()}).out.find("no worker") !=
        std::string::npos);
  unsetenv("NO_COLOR");
  CHECK(run({"dump", "--dir", published.directory()}, true).out.find('\x1b') != std::string::npos);
  setenv("NO_COLOR", "1", 1);
  CHECK(run({"dump", "--dir", published.directory()}, true).out.find('\x1b') == std::string::npos);
}

TEST_CASE("rates need two looks, once or again and again") {
  using ballast::engine::Strategy;
  const ballast::tests::Published published(
      ballast::tests::settings_of({ballast::tests::service_of("checkout", Strategy::maglev, 1)}));
  const std::string place = "--dir=" + published.directory();
  for (const char* wrong : {"2", "99ms", "2h", "soon", "-1s"}) {
    const auto output = run({"dump", place, std::string("--over=") + wrong});
    CHECK(output.status == 2);
    CHECK(output.errors == std::string("ballast: --over \"") + wrong +
                               "\" is no time from 100ms to 1h: write 500ms, 2s or 1m\n");
  }
  const auto once = run({"dump", place, "--over", "100ms"});
  CHECK(once.status == 0);
  CHECK(once.out.find("  requests  0.0/s, 0.0 failed/s, in ") != std::string::npos);
  CHECK(once.out.find("REQ/S  FAIL/S") != std::string::npos);
  const auto json = run({"dump", place, "--over=100ms", "--json"}).out;
  CHECK(json.find("\"over_ns\": 0") == std::string::npos);
  CHECK(json.find("\"over_ns\": ") != std::string::npos);
  for (const bool terminal : {false, true}) {
    std::vector<std::string> shown;
    const auto watched = tools::run_cli({"dump", place, "--watch", "--over=100ms"}, {terminal, 0},
                                        [&](std::string_view text) {
                                          shown.emplace_back(text);
                                          return shown.size() < 3;
                                        });
    CHECK(watched.status == 0);
    CHECK(watched.out.empty());
    REQUIRE(shown.size() == 3);
    for (const std::string& one : shown)
      CHECK(one.starts_with(terminal ? "\x1b[H\x1b[2Jdirectory" : "directory"));
  }
}
