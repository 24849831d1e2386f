// The verbs of `ballast` that ask a running ballastd to do something: how each is spelt on the
// command line, the request that it becomes, and how the answer is shown. docs/control.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ballast/cli.hpp"

namespace CLI {
class App;
}

namespace ballast::tools {

struct ControlOptions {
  bool json = false;
  std::string directory;
  std::string name_space;
  std::string socket;
  std::string service;
  std::vector<std::string> instances;
  std::string instance;  // of verbs that are about one alone
  std::uint32_t weight = 0;
  std::optional<std::uint32_t> with_weight;
  std::optional<std::uint32_t> tier;
  std::string zone;
  std::string name;
  std::string admin;
  std::string strategy;
  std::string duration;
  std::string timeout = "30s";
  bool wait = false;
};

[[nodiscard]] std::span<const std::string_view> control_verbs();
[[nodiscard]] std::span<const std::string_view> control_options();
void add_control_verbs(CLI::App& app, ControlOptions& options);

// Whose `control` socket it is: a directory, and what to say of it if nobody listens.
struct ControlPlace {
  std::string directory;
  std::string others;  // namespaces there are; may be empty
};
// Status 0: done; 1: refused, or nobody listens; 2: wrong usage; 3: it holds, but is not kept; 4:
// it holds, and what was waited for did not come in time.
[[nodiscard]] CliOutput run_control_verb(const std::string& verb, const ControlOptions& options,
                                         const ControlPlace& place, const Writer& write);

}  // namespace ballast::tools
