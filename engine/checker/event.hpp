// What the checker tells whoever runs it: one Event a transition, never one a check. The program
// around the checker decides how to show it (ballastd: a line on stderr).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ballast::checker {

enum class Level : std::uint8_t { info, warning, error };

struct Event {
  Level level = Level::info;
  std::string name;                                         // "instance_down"
  std::vector<std::pair<std::string, std::string>> fields;  // in the order to be shown
};

using EventSink = std::function<void(const Event&)>;

}  // namespace ballast::checker
