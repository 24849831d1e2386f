// What a worker writes into the flight recorder: the breakers that its reports and picks opened,
// tried and closed, in its own name. Rare paths only; no allocation, no lock, no system call but
// for a clock. A worker that dies while it writes leaves no half record (shm/events.hpp).
#pragma once

#include <cstdint>

#include "engine/breaker_word.hpp"
#include "engine/service_view.hpp"
#include "shm/event.hpp"
#include "shm/segment.hpp"

namespace ballast::engine {

// `pick` had its slot's breaker changed: `kind` is one of the breaker's, `from` the state that it
// was in, `outcome` what did it (0: a pick).
[[gnu::noinline, gnu::cold]] void record_breaker(const shm::WorkerSegment& segment,
                                                 const Picker& me, std::uint32_t slot,
                                                 std::uint32_t incarnation, shm::EventKind kind,
                                                 BreakerState from, unsigned outcome) noexcept;

}  // namespace ballast::engine
