// ballast: the command-line tool.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "tools/ballast/cli.hpp"

namespace {

// What goes elsewhere than to a terminal is complete, however wide.
ballast::tools::Screen screen_of(int fd) {
  if (isatty(fd) == 0) return {};
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) return {true, 0};
  return {true, size.ws_col};
}

}  // namespace

int main(int argc, char** argv) {
  const auto write = [](std::string_view text) {
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
           std::fflush(stdout) == 0;
  };
  const auto output =
      ballast::tools::run_cli({argv + 1, argv + argc}, screen_of(STDOUT_FILENO), write);
  std::fputs(output.errors.c_str(), stderr);
  std::fputs(output.out.c_str(), stdout);
  return output.status;
}
