// A program compiled against the header of the first release works with today's library.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

#include "tests/support/published.hpp"

using namespace ballast;

TEST_CASE("a program of the first release picks, retries and reports") {
  tests::Published published(
      tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 20)}));
  const char* program = std::getenv("BALLAST_FIRST_RELEASE");
  REQUIRE(program != nullptr);
  FILE* pipe =
      ::popen((std::string(program) + " " + published.directory() + " web user:42").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  std::array<char, 256> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr)
    output += buffer.data();
  INFO(output);
  CHECK(::pclose(pipe) == 0);
  std::istringstream words(output);
  std::string first;
  std::string second;
  CHECK((words >> first >> second));
  CHECK(first.starts_with("127.1.0."));
  CHECK(second.starts_with("127.1.0."));
  CHECK(first != second);
  CHECK(published.in_flight() == 0);
}
