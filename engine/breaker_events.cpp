// One record from what the table says of the instance.
#include "engine/breaker_events.hpp"

#include <algorithm>

#include "engine/breaker_word.hpp"
#include "shm/event_ring.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"

namespace ballast::engine {

void record_breaker(const shm::WorkerSegment& segment, const Picker& me, std::uint32_t slot,
                    std::uint32_t incarnation, shm::EventKind kind, BreakerState from,
                    unsigned outcome) noexcept {
  const shm::Table& table = segment.table;
  const shm::WorkersWriter& workers = segment.workers;
  if (slot >= table.instances.size() || slot >= workers.breakers.size() ||
      me.row.index >= workers.directory.size()) {
    return;
  }
  const shm::InstanceRecord& instance = table.instances[slot];
  // Another tenant's by now: there is nobody left to name.
  if (shm::unpack_identity(shm::get(instance.identity)).incarnation != incarnation) return;
  // As it is now, which after our own change is nearly always what we made of it.
  const Breaker breaker = unpack_breaker(workers.breakers[slot].load(std::memory_order_relaxed));
  const std::uint64_t now_ms = me.clock_ms();
  const std::uint64_t left_ms = breaker.until_ms > now_ms ? breaker.until_ms - now_ms : 0;
  BreakerState to = BreakerState::closed;
  if (kind == shm::EventKind::breaker_opened) to = BreakerState::open;
  if (kind == shm::EventKind::breaker_half_open) to = BreakerState::half_open;

  shm::EventWords words{};
  words[0] = shm::realtime_ns();
  words[1] =
      shm::pack_event_what(kind, shm::EventBy::worker, static_cast<std::uint8_t>(from),
                           static_cast<std::uint8_t>(to), static_cast<std::uint16_t>(outcome));
  // As its owner, this thread's process, wrote it when it took the row.
  words[2] = shm::pack_event_pair(
      workers.directory[me.row.index].pid.load(std::memory_order_relaxed), me.row.index);
  words[3] = shm::pack_event_pair(breaker.level, left_ms);
  for (std::size_t i = 0; i < 3; ++i)
    words[4 + i] = shm::get(instance.endpoint[i]);
  const std::uint64_t service = instance.service.load(std::memory_order_relaxed);
  if (service < table.services.size()) {
    for (std::size_t i = 0; i < shm::kServiceNameBytes / 8; ++i)
      words[7 + i] = shm::get(table.services[service].name[i]);
  }
  const shm::EventWriter writer{static_cast<std::uint16_t>(me.row.index), me.row.incarnation};
  // Not recorded where everybody in the way stands still.
  static_cast<void>(shm::write_event(shm::event_ring_of(workers), writer, words));
}

}  // namespace ballast::engine
