// What a plan changes of a table, as transitions: who is admitted and who leaves, whose weight or
// admin state becomes another, which services come, go or get another strategy; and by whom. Pure:
// it reads the table as it was before the plan is carried out.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/checker/publishing/plan.hpp"
#include "engine/checker/publishing/transition.hpp"
#include "engine/checker/settings.hpp"
#include "shm/views.hpp"

namespace ballast::checker {

// So many changes of one service are named one by one; more are counted in one event, so that a
// source that finds thousands does not wash out what happened before.
inline constexpr std::size_t kNamedChanges = 200;

// `before` are the settings that the table was made from, if this process knows them.
[[nodiscard]] std::vector<Transition> find_changes(const shm::TableWriter& table, const Plan& plan,
                                                   const Settings& wanted, const Settings* before);

}  // namespace ballast::checker
