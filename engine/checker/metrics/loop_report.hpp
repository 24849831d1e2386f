// What the checker's loop says of itself to the metrics thread, once a second: everything that is
// not in mapped memory. The loop fills it in, whole, and posts it through a Mailbox; nobody looks
// into the loop's own state.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/checker/discovery/source_set.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/metrics/check_tally.hpp"
#include "engine/checker/probing/prober.hpp"

namespace ballast::checker {

struct LoopReport {
  std::chrono::steady_clock::time_point made;
  bool in_charge = false;  // holds the lease: what is in the table is its own
  Backend backend = Backend::automatic;
  std::size_t streams_open = 0;
  std::size_t streams_limit = 0;
  ProberStats prober;
  std::vector<CheckCounts> checks;
  std::vector<SourceStatus> sources;
};

}  // namespace ballast::checker
