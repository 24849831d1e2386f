// The one place that knows which kind of check speaks how. Used by the prober.
#pragma once

#include <memory>

#include "engine/checker/probing/exchange.hpp"
#include "engine/checker/probing/recipe.hpp"

namespace ballast::checker {

// The conversation with `instance`; null for kinds that have none (none, exec) and for those that
// this build leaves out. The recipe must outlive it.
[[nodiscard]] std::unique_ptr<Exchange> make_exchange(const Recipe& recipe,
                                                      const InstanceSettings& instance);

}  // namespace ballast::checker
