// The verb `ballast bridge haproxy`: the command line, the log, and the life of the process around
// bridge_server.hpp and bridge_table.hpp. docs/haproxy.md.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tools/ballast/cli.hpp"

namespace CLI {
class App;
}

namespace ballast::tools {

struct BridgeOptions {
  std::string kind;
  std::string directory;
  std::string name_space;
  std::string listen = "127.0.0.1:9777";
};

inline constexpr std::string_view kBridgeVerb = "bridge";
[[nodiscard]] std::span<const std::string_view> bridge_options();
void add_bridge_verb(CLI::App& app, BridgeOptions& options);

// Runs until SIGTERM or SIGINT; its log goes to stderr. Status 0: it was told to stop; 1: it cannot
// listen; 2: wrong usage.
[[nodiscard]] CliOutput run_bridge(const BridgeOptions& options, const std::string& directory);

}  // namespace ballast::tools
