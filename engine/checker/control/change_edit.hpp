// What becomes of the operators' changes when one more is asked for. Pure: nothing is applied here.
// A change that says no more than what the configuration and the sources say is none, and is
// forgotten, so that their later words count again.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/checker/control/request.hpp"
#include "engine/checker/control/roster.hpp"

namespace ballast::checker {

// The instances that a request names, by address or by a name that one instance alone has.
[[nodiscard]] std::variant<std::vector<shm::Endpoint>, Refusal> find_instances(
    const Roster& roster, const Request& request);

// A service that the configuration has; null without one.
[[nodiscard]] const ServiceSettings* find_service(const Roster& roster, const std::string& name);
[[nodiscard]] Refusal no_such_service(const Roster& roster, const std::string& name);

// For add, remove, drain, ready, maint, weight, strategy and reset. All of the request or nothing.
[[nodiscard]] std::variant<RuntimeChanges, Refusal> edit_changes(const Roster& roster,
                                                                 const Request& request);

}  // namespace ballast::checker
