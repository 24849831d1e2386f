// What a service's policy and its groups come to, in words for `ballast dump`.
#pragma once

#include <string>

#include "engine/inspect/snapshot.hpp"

namespace ballast::tools {

// "adaptive of 3 with hot/cold", "maglev bounded at 1.25".
[[nodiscard]] std::string strategy_text(const inspect::ServiceView& service);

// Indented lines: limits, breaker, panic, staleness and groups, where there is something to say; of
// the breaker, where it is not as it is by default.
[[nodiscard]] std::string policy_text(const inspect::ServiceView& service);

}  // namespace ballast::tools
