// Everyone who chooses in the simulator, by name: the production strategies, the same with state of
// each worker's own, and models of peers. Made anew for every run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/simulator/chooser.hpp"
#include "bench/simulator/peers.hpp"

namespace ballast::bench::sim {

enum class Kind : std::uint8_t {
  fixed,       // production code, one rule; what `adaptive` is held against
  adaptive,    // production code, strategy `adaptive`
  option,      // production code, shown for comparison
  per_worker,  // production code, but each worker knows only what it did itself
  peer,        // a model of somebody else
};

struct Strategy {
  std::string name;
  Kind kind;
  std::string shared_name;  // per_worker: the same with shared state
  std::unique_ptr<Chooser> (*make)(const Sizes& sizes);
};

// In the order in which they are shown.
[[nodiscard]] const std::vector<Strategy>& strategies();

}  // namespace ballast::bench::sim
