// An instance as the publisher has put it into the table: what ties the settings, the prober and
// the steering to a slot. Plain values, made anew whenever settings are applied.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm/state_word.hpp"

namespace ballast::checker {

// An instance as it lies in the table, for whoever probes it.
struct PublishedInstance {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
  std::size_t service = 0;   // index into the settings last applied
  std::size_t instance = 0;  // index into that service's instances
  bool is_new = false;       // admitted, or back from cooling, this time
  // By the checks: adopted, or `unknown` for a new one.
  shm::Health health = shm::Health::unknown;
};

}  // namespace ballast::checker
