// The command line of ballast, apart from main() so that tests can run it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ballast::tools {

struct CliOutput {
  int status = 0;      // 0 fine, 1 it cannot be read or is refused, 2 wrong usage; see also control
  std::string out;     // for stdout
  std::string errors;  // for stderr
};

// Where stdout goes.
struct Screen {
  bool is_terminal = false;
  std::size_t width = 0;  // in characters; 0: not known, or no limit
};

// Shows what goes on, as it comes; false: nobody reads any more.
using Writer = std::function<bool(std::string_view)>;

// `arguments` without the program's name. Colours only on a terminal, and not under NO_COLOR. What
// has no end goes to `write`; without one there is only its beginning, in `out`.
[[nodiscard]] CliOutput run_cli(std::vector<std::string> arguments, const Screen& screen,
                                const Writer& write = {});

}  // namespace ballast::tools
