// The examples of the documentation, run as a reader would run them.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/support/published.hpp"

using namespace ballast;
using tests::Published;

namespace {

struct Ran {
  std::string output;
  int status = -1;
};

Ran run(const char* variable, const std::string& arguments) {
  const char* program = std::getenv(variable);
  REQUIRE_MESSAGE(program != nullptr, variable << " names the example to run");
  Ran ran;
  FILE* pipe = ::popen((std::string(program) + " " + arguments).c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 256> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr)
    ran.output += buffer.data();
  ran.status = ::pclose(pipe);
  return ran;
}

}  // namespace

TEST_CASE("both examples pick the same instance, and say what is wrong") {
  Published published(tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 20)}));
  const Ran c = run("BALLAST_EXAMPLE_C", published.directory() + " web user:42");
  const Ran cpp = run("BALLAST_EXAMPLE_CPP", published.directory() + " web user:42");
  CHECK(c.status == 0);
  CHECK(cpp.status == 0);
  CHECK(c.output.starts_with("127.1.0."));
  CHECK(c.output == cpp.output);
  CHECK(published.in_flight() == 0);
  for (const char* example : {"BALLAST_EXAMPLE_C", "BALLAST_EXAMPLE_CPP"}) {
    const Ran unknown = run(example, published.directory() + " mail user:42");
    CHECK(unknown.status != 0);
    CHECK(unknown.output.find("no service of that name") != std::string::npos);
    const Ran nobody = run(example, published.directory() + "/nobody web user:42");
    CHECK(nobody.status != 0);
    CHECK(nobody.output.find("start ballastd") != std::string::npos);
  }
}
