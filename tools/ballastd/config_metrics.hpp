// The table [metrics]: its keys and how they are read. Used by config.cpp, which judges the file as
// a whole, and by config_keys.cpp, which lists every key.
#pragma once

#include <span>

#include "engine/checker/settings.hpp"
#include "tools/ballastd/config_fields.hpp"
#include "tools/ballastd/config_walk.hpp"

namespace ballast::tools {

namespace keys {
[[nodiscard]] Words metrics();
[[nodiscard]] std::span<const Field<checker::Settings>> metrics_fields();
}  // namespace keys

void read_metrics(ConfigWalk& walk, const ConfigValue& root, checker::Settings& settings);

}  // namespace ballast::tools
