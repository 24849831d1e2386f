// The production code in simulated time: a published namespace in a directory of its own, one real
// handle for each worker, the real load watch in the checker's place. A pick here is
// Handle::pick, a report Handle::report, on the same mapped words as in a server; only the clock by
// which the board works is the simulation's. Nothing is probed: the scenario says who is usable.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/simulator/chooser.hpp"
#include "bench/simulator/peers.hpp"
#include "engine/policy.hpp"

namespace ballast::bench::sim {

// What a worker knows: what all workers did, or only what it did itself (it then has a service of
// its own with the same backends).
enum class Sharing : std::uint8_t { host, worker };

// Throws if the namespace cannot be made.
[[nodiscard]] std::unique_ptr<Chooser> production(const Sizes& sizes, const engine::Policy& policy,
                                                  Sharing sharing);

}  // namespace ballast::bench::sim
