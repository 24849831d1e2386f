// The command line of ballastd.
#pragma once

#include <optional>
#include <span>
#include <string>

namespace ballast::tools {

struct Options {
  enum class Mode { run, check, defaults, help, version };
  Mode mode = Mode::run;
  std::string config;
  std::string directory;  // overrides the configuration's; empty: not given
  std::string state;      // a directory for what outlives the machine's restart; empty: not given
  bool handover = false;
};

struct ParsedOptions {
  std::optional<Options> options;
  std::string error;  // one line, when there are no options
};

// `arguments` without the program's name.
[[nodiscard]] ParsedOptions parse_options(std::span<const char* const> arguments);

// The directory that systemd's StateDirectory= has made for this service; empty: there is none.
[[nodiscard]] std::string state_directory_of(const char* environment);

[[nodiscard]] std::string help_text();

}  // namespace ballast::tools
