// What is no TOML, and files that cannot be read: errors as people see them.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "tests/support/child.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/tools/ballastd/config_errors.hpp"

namespace tools = ballast::tools;
using ballast::tests::as_nobody;
using ballast::tests::errors_of;
using ballast::tests::TempDir;

namespace {

std::string file_error(const std::string& path) {
  const auto result = tools::read_config_file(path);
  REQUIRE(result.errors.size() == 1);
  return result.errors[0].line;
}

}  // namespace

TEST_CASE("a missing comma") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1" "1.1.1.1:2"]
)~") ==
        R"~(f.toml:2:26: missing array separator `,` after a value: should be `,`
   |
 2 | instances = ["1.1.1.1:1" "1.1.1.1:2"]
   |                          ^ should be `,`
  ...
 2 | instances = ["1.1.1.1:1" "1.1.1.1:2"]
   |             ^ array starts here)~");
}

TEST_CASE("a missing bracket") {
  CHECK(
      errors_of(R"~([service.a
instances = ["1.1.1.1:1"]
)~") ==
      R"~(f.toml:1:1: an invalid key appeared: bare keys : non-empty strings composed only of [A-Za-z0-9_-].
   |
 1 | [service.a
   | ^ is not a valid key)~");
}

TEST_CASE("a missing quote") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1]
)~") ==
        R"~(f.toml:2:14: value having invalid format appeared in an array: it is not a valid value.
   |
 2 | instances = ["1.1.1.1:1]
   |              ^ it is not a valid value.
  ...
 2 | instances = ["1.1.1.1:1]
   |             ^ array starts here)~");
}

TEST_CASE("a missing value") {
  CHECK(errors_of(R"~([service.a]
instances
)~") ==
        R"~(f.toml:2:10: missing key-value separator `=`: should be `=`
   |
 2 | instances
   |          ^ should be `=`)~");
}

TEST_CASE("an address without quotes") {
  CHECK(errors_of(R"~([service.a]
instances = [127.0.0.1:8080]
)~") ==
        R"~(f.toml:2:19: missing array separator `,` after a value: should be `,`
   |
 2 | instances = [127.0.0.1:8080]
   |                   ^ should be `,`
  ...
 2 | instances = [127.0.0.1:8080]
   |             ^ array starts here)~");
}

TEST_CASE("one key twice") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
instances = ["1.1.1.1:2"]
)~") ==
        R"~(f.toml:3:13: value ("instances") already exists: remove one of them
   |
 3 | instances = ["1.1.1.1:2"]
   |             ^~~~~~~~~~~~~ value defined twice
  ...
 2 | instances = ["1.1.1.1:1"]
   |             ^~~~~~~~~~~~~ value already exists here)~");
}

TEST_CASE("one service twice") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
[service.a]
instances = ["1.1.1.1:2"]
)~") ==
        R"~(f.toml:3:1: table ("service.a") already exists: remove one of them
   |
 3 | [service.a]
   | ^~~~~~~~~~~ table defined twice
  ...
 1 | [service.a]
   | ^~~~~~~~~~~ table already exists here)~");
}

TEST_CASE("a byte that is not UTF-8") {
  CHECK(errors_of("# \xE9t\xE9\n") ==
        "f.toml:1:3: this byte is not UTF-8: save the file as UTF-8\n   |\n 1 | # \xE9t\xE9\n"
        "   |   ^ here");
}

TEST_CASE("files that cannot be read") {
  const TempDir directory;
  const std::string file = directory.path() + "/f.toml";
  CHECK(file_error(file) ==
        file +
            ": cannot be opened (No such file or directory): check the path and its permissions");
  CHECK(file_error(directory.path()) ==
        directory.path() + ": is a directory: give the configuration file itself");
  std::ofstream(file) << "[service.a]\ninstances = []\n";
  CHECK(file_error(file).starts_with(file + ":2:13: instances of service \"a\" is empty"));
  chmod(directory.path().c_str(), 0755);
  chmod(file.c_str(), 0);
  CHECK(as_nobody([&] {
          const auto result = tools::read_config_file(file);
          const std::string expected =
              file + ": cannot be opened (Permission denied): check the path and its permissions";
          return result.errors.size() == 1 && result.errors[0].line == expected ? 0 : 1;
        }) == 0);
}

TEST_CASE("a file that never ends is given up") {
  CHECK(file_error("/dev/zero") ==
        "/dev/zero: is larger than 64 MiB: split it over several namespaces");
}
