// How loaded an instance is, as a pick sees it: what the checker's load board published last, but
// in flight at least what this thread itself has there. While the board stands still (a dead
// checker) in flight is added up over the rows of all live workers instead: exact, and as slow as
// there are rows; a dead worker's row counts until it is reaped. Reads only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/load_score.hpp"
#include "engine/load_word.hpp"
#include "engine/service_view.hpp"
#include "shm/layout.hpp"
#include "shm/row_protocol.hpp"

namespace ballast::engine {

// At least 0 and at most kMaxInFlight, whatever the rows say.
template <class Workers>
[[nodiscard]] std::uint32_t sum_in_flight(const Workers& workers, std::uint32_t slot) noexcept {
  std::int64_t sum = 0;
  for (std::size_t row = 0; row < workers.directory.size(); ++row) {
    // [mm:row-claim] acquire: a row that is live has settled its dead owner's requests.
    const auto claim = workers.directory[row].claim.load(std::memory_order_acquire);
    if (shm::unpack_identity(claim).phase != shm::Phase::live) continue;
    const auto counters = workers.row(row);
    if (slot < counters.size()) sum += shm::read_in_flight(counters[slot].values);
  }
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(sum, 0, kMaxInFlight));
}

// For a slot of the service.
[[nodiscard]] inline Load load_of(const ServiceView& service, const Picker& me,
                                  std::uint32_t slot) noexcept {
  // Relaxed: numbers to go by, no order hangs on them.
  Load load = unpack_load(service.loads[slot].load(std::memory_order_relaxed));
  if (service.sums_rows) [[unlikely]] {
    load.in_flight = sum_in_flight(*service.workers, slot);
  } else if (slot < me.row.slots) {
    load.in_flight = std::max(load.in_flight, me.row.in_flight[slot]);
  }
  return load;
}

// How the service weighs it.
[[nodiscard]] inline LoadRule load_rule(const ServiceView& service) noexcept {
  return {service.policy.strategy, service.policy.hot_cold != 0,
          service.load->hot_threshold.load(std::memory_order_relaxed)};
}

// Looks whether the load board still moves. True: it has come to another answer.
[[nodiscard, gnu::always_inline]] inline bool look_at_load_beat(ServiceView& service,
                                                                const Picker& me) noexcept {
  const bool still = service.load_beat.stands_still(
      service.header->load_beat.load(std::memory_order_relaxed), kLoadBeatLimitMs, me.clock_ms);
  if (still == service.sums_rows) [[likely]]
    return false;
  service.sums_rows = still;
  return true;
}

}  // namespace ballast::engine
