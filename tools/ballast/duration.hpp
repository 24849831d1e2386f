// How long something is to last, as people write it on the command line.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace ballast::tools {

// "500ms", "30s", "5m", "2h", or "0"; none for anything else.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(const std::string& text);

}  // namespace ballast::tools
