// What makes an instance usable, and what its state word says of that: the one place where the bits
// that picks look at are derived from health, administration and ejection. Pure functions, called
// by the checker when it admits an instance and whenever something about it changes.
#pragma once

#include <cstdint>

#include "engine/checker/settings.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

// Whether instances that nobody has checked yet are used.
[[nodiscard]] inline bool is_trusted(const CheckSettings& check) noexcept {
  return check.kind == CheckKind::none || check.first_check == FirstCheck::up;
}

// Whether somebody on the instance's side speaks for it.
[[nodiscard]] inline bool has_agent(const ServiceSettings& service) noexcept {
  return service.agent.port != 0 || service.check.kind == CheckKind::agent;
}

[[nodiscard]] inline bool is_usable(shm::Health health, shm::Admin admin, bool trusted) noexcept {
  const bool healthy = health == shm::Health::up || (health == shm::Health::unknown && trusted);
  return healthy && admin == shm::Admin::ready;
}

// Sets `usable` and `plain` from the rest, `limited` included. `weight` is the configured one.
inline void derive_use(shm::State& state, std::uint32_t weight, bool trusted) noexcept {
  state.usable = is_usable(state.health, state.admin, trusted) && !state.ejected;
  state.plain = state.usable && !state.limited && state.weight >= weight * shm::kWeightUnit;
}

}  // namespace ballast::checker
