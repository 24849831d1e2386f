// What each way in which a request can end says about its instance: one table, and one bit an
// outcome by which a service says which of them are failures. Pure functions, no state: workers use
// them when they report. docs/protection.md, "outcomes", shows the table to people.
#pragma once

#include <array>
#include <cstdint>

#include "shm/layout.hpp"

namespace ballast::engine {

enum class Effect : std::uint8_t {
  none = 0,     // says nothing about the instance
  success = 1,  // it answers
  failure = 2,  // counts against it
  // It asks to be left alone: opens the breaker for as long as the answer says (retry-after), and
  // counts for nothing if the answer does not say.
  pushback = 3,
};

// What an outcome says if its service does not call it a failure, by its number in ballast.h (a
// shm::CounterIndex). Those that a service calls failures unless told otherwise are the connect
// failure, the timeout, the reset and the server error.
inline constexpr std::array<Effect, shm::kLastOutcome + 1> kMilderEffects = {
    Effect::none,      // not an outcome
    Effect::success,   // success
    Effect::none,      // connect failure
    Effect::none,      // timeout
    Effect::none,      // reset
    Effect::success,   // server error: it answers
    Effect::pushback,  // overload
    Effect::none,      // cancelled
    Effect::none,      // abandoned
};

// `outcome` is one of kFirstOutcome..kLastOutcome, any other says nothing; `failures` has bit n set
// if outcome n is a failure (Policy::breaker_outcomes). A success is always one, so that reporting
// it need not read the policy.
[[nodiscard]] constexpr Effect effect_of(unsigned outcome, std::uint32_t failures) noexcept {
  if (outcome - shm::kFirstOutcome > shm::kLastOutcome - shm::kFirstOutcome) return Effect::none;
  if (outcome == shm::kSuccess) return Effect::success;
  return (failures >> outcome & 1) != 0 ? Effect::failure : kMilderEffects[outcome];
}

}  // namespace ballast::engine
