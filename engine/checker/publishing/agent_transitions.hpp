// What the flight recorder and the log are told of an agent's word: only what changes the use of
// its instance. A weight that an agent moves with every answer is shown in the table, and told only
// when it takes the instance out or back in. Pure; used by the checker.
#pragma once

#include <string>
#include <vector>

#include "engine/agent_word.hpp"
#include "engine/checker/publishing/transition.hpp"
#include "engine/checker/settings.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

// `health` is what the checks say, which an agent's "down" beats.
[[nodiscard]] std::vector<Transition> agent_transitions(const std::string& service,
                                                        const InstanceSettings& instance,
                                                        shm::Health health,
                                                        const engine::AgentReport& before,
                                                        const engine::AgentReport& now);

}  // namespace ballast::checker
