// ballast: the command-line tool.
#include <unistd.h>

#include <cstdio>

#include "tools/ballast/cli.hpp"

int main(int argc, char** argv) {
  const auto output = ballast::tools::run_cli({argv + 1, argv + argc}, isatty(STDOUT_FILENO) != 0);
  std::fputs(output.errors.c_str(), stderr);
  std::fputs(output.out.c_str(), stdout);
  return output.status;
}
