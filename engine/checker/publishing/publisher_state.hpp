// What a Publisher keeps, for the files that its functions are spread over: publisher.cpp (applying
// and what others ask it), publisher_segments.cpp (finding, making and leaving segments) and
// publisher_tick.cpp (the periodic work). Nobody else includes it. Private memory of the checker: a
// successor finds everything that it needs in the segment.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/checker/loads/load_watch.hpp"
#include "engine/checker/loads/token_counter.hpp"
#include "engine/checker/publishing/changes.hpp"
#include "engine/checker/publishing/growth.hpp"
#include "engine/checker/publishing/plan.hpp"
#include "engine/checker/publishing/publisher.hpp"
#include "engine/checker/steering/breaker_watch.hpp"
#include "engine/checker/steering/steering.hpp"
#include "shm/host.hpp"
#include "shm/lease.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/rows.hpp"
#include "shm/segment.hpp"

namespace ballast::checker {

// Its words in the table are read relaxed: the only writer reads its own.
struct Publisher::State {
  shm::Lease lease;
  shm::CheckerSegment segment;
  std::optional<shm::LockFile> lock;  // of the active workers file, for reaping; none if it is lost
  std::optional<DrainingSegment> previous;
  Settings settings;
  std::vector<PublishedInstance> instances;
  // By slot: where in `instances`; kNobody: nowhere. Only for the settings last applied.
  static constexpr std::uint16_t kNobody = 0xFFFF;
  static_assert(kMaxInstances < kNobody);
  std::vector<std::uint16_t> by_slot;
  bool adopted = false;
  std::optional<shm::Error> lost_workers;
  std::uint64_t ticks = 0;
  LoadWatch loads;
  TokenCounter tokens;
  Steering steering;
  BreakerWatch breakers;
  Recorder recorder{};
  KeptTables kept{};
  bool ever_applied = false;  // `settings` are what the table says

  shm::Status grow(const Settings& wanted, const StickySecrets& sticky, std::uint64_t now_ms);
  void remember(const Settings& wanted, const Plan& plan, std::uint64_t now_ms);
  void follow_loads(const Plan& plan);
  // Nothing is known any more of the load of whoever came (back) into use.
  void forget_loads() {
    for (const std::uint16_t arrived : steering.take_arrivals())
      loads.forget(arrived);
  }
  void follow_breakers(const Plan& plan);
  // What carrying out `plan` changes of `table`; nothing for a namespace that has just been made.
  [[nodiscard]] std::vector<Transition> changes_by(const shm::TableWriter& table, const Plan& plan,
                                                   const Settings& wanted) const {
    if (!ever_applied && !adopted) return {};
    return find_changes(table, plan, wanted, ever_applied ? &settings : nullptr);
  }
  void record_reaped(const shm::Reaped& reaped) const;
  void record_breakers();
  void start_draining(std::uint64_t id);
  std::uint64_t free_cooled_slots();
  [[nodiscard]] PublishedInstance* find(std::uint16_t slot, std::uint32_t incarnation);
  // What the table says of it to everybody, an agent's word included.
  [[nodiscard]] shm::Health shown_health(std::uint16_t slot) const {
    return shm::unpack(segment.table.states[slot].load(std::memory_order_relaxed)).health;
  }
  void count_flip(std::uint16_t slot, shm::Health before) {
    if (shown_health(slot) == before) return;
    shm::InstanceRecord& record = segment.table.instances[slot];
    record.changed_ns.store(shm::realtime_ns(), std::memory_order_relaxed);
    record.flips.store(record.flips.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
};

}  // namespace ballast::checker
