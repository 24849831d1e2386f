// The one translation unit that carries doctest's implementation and main(). Every unit test links
// it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/support/skip.hpp"

namespace {

unsigned skipped_cases = 0;
std::string first_reason;

}  // namespace

void ballast::tests::skip(const std::string& why) {
  if (skipped_cases++ == 0) first_reason = why;
}

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int failed = context.run();
  if (failed != 0 || skipped_cases == 0) return failed;
  // tools/dev.d/results.py reads this line.
  std::printf("skipped: %u cases: %s\n", skipped_cases, first_reason.c_str());
  return 77;
}
