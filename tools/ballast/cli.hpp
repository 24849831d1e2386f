// The command line of ballast, apart from main() so that tests can run it.
#pragma once

#include <string>
#include <vector>

namespace ballast::tools {

struct CliOutput {
  int status = 0;      // 0 fine, 1 the namespace cannot be read, 2 wrong usage
  std::string out;     // for stdout
  std::string errors;  // for stderr
};

// `arguments` without the program's name. Colours only if `stdout_is_terminal`, and not under
// NO_COLOR.
[[nodiscard]] CliOutput run_cli(std::vector<std::string> arguments, bool stdout_is_terminal);

}  // namespace ballast::tools
