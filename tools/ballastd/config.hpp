// Reads a TOML file into the checker's Settings, or says everything that is wrong with it. Used by
// ballastd at start, by `ballastd --check` and on SIGHUP. It never exits and never prints; apart
// from the name look-ups and reading the file it has no effects.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/checker/settings.hpp"
#include "tools/ballastd/config_values.hpp"
#include "tools/ballastd/source_text.hpp"

namespace ballast::tools {

inline constexpr std::size_t kMaxConfigBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxConfigErrors = 50;  // more are counted, not shown

[[nodiscard]] std::optional<std::uint32_t> group_in_system(const std::string& group);

// The world outside the file, so that tests can stand in for it.
struct ConfigEnvironment {
  Resolver resolve = resolve_with_system;
  std::function<std::optional<std::uint32_t>(const std::string& group)> find_group =
      group_in_system;
};

struct ConfigResult {
  std::optional<checker::Settings> settings;  // set exactly when `errors` is empty
  std::vector<Diagnostic> errors;             // in the order of their lines
};

// Services keep the order in which the file names them.
[[nodiscard]] ConfigResult read_config_text(const std::string& name, std::string text,
                                            const ConfigEnvironment& environment = {});
[[nodiscard]] ConfigResult read_config_file(const std::string& path,
                                            const ConfigEnvironment& environment = {});

}  // namespace ballast::tools
