// All that a handle remembers of one service: the generation it has entered with every group, the
// policy that was published with it, and where the words lie that change without a publication.
// Made by a worker for itself from what the checker wrote; believed only as long as root has not
// moved. Pointers lead into the mapped segment and are good until the handle leaves it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/beat_watch.hpp"
#include "engine/coarse_clock.hpp"
#include "engine/generation_view.hpp"
#include "engine/pick_flags.hpp"
#include "engine/policy.hpp"
#include "engine/random.hpp"
#include "shm/layout.hpp"
#include "shm/views.hpp"

namespace ballast::engine {

// The tickets that a handle has taken and not yet used, and where in the schedule the next one is.
// Plain memory of one thread.
struct Tickets {
  std::uint64_t next = 0;
  std::uint64_t end = 0;
  std::uint64_t place = 0;   // next % length
  std::uint64_t length = 0;  // of the schedule that `place` is of; 0: not known

  void drop() noexcept { *this = {}; }
};

// The calling thread's row in the workers file, and what it counts for itself beside it.
struct OwnRow {
  shm::CounterRecord* counters = nullptr;  // by slot; null: no row, so nothing can be counted
  shm::JournalRecord* journal = nullptr;
  std::uint32_t* in_flight = nullptr;  // by slot, of picks that keep a journal; private memory
  std::uint64_t slots = 0;             // how many of each; 0 while there is no row
  shm::RowServiceRecord* services = nullptr;  // by service record
  std::uint64_t service_count = 0;
  // Of all rows' owners together, one a slot; looked at when a request has succeeded.
  const shm::Word64* breakers = nullptr;
  const shm::SharedInstanceRecord* instances = nullptr;
  std::uint32_t index = UINT32_MAX;
  std::uint32_t incarnation = 0;
};

// What the picking thread brings along, whatever the service.
struct Picker {
  OwnRow row;
  Random random;
  ClockMs clock_ms = &coarse_ms;
};

// How a pick that needs no second look is made.
enum class Path : std::uint8_t {
  long_way = 0,  // every pick by choose()
  table = 1,
  ring = 2,
  turns = 3,
  random = 4,
  least = 5,    // the best of some random candidates
  bounded = 6,  // a table whose instances have a bound
};

// While the load board's beat has not moved for this long, in flight is summed over the rows. It
// publishes every 2 ms under load and every 50 ms at rest, by default.
inline constexpr std::uint64_t kLoadBeatLimitMs = 500;

struct ServiceView {
  // The first group comes first, with all that the straight path of a table touches.
  std::array<GenerationView, shm::kMaxGroups> groups;
  std::uint32_t group_count = 0;
  Path path = Path::long_way;
  std::uint8_t flags = 0;  // pick_flags that every pick of the service has
  bool sums_rows = false;  // the load board stands still
  bool may_arm = false;    // straight paths are allowed where they apply
  Policy policy;

  const shm::ServiceRecord* record = nullptr;
  const shm::FileHeader* header = nullptr;
  const shm::InstanceRecord* instances = nullptr;
  const shm::Word64* loads = nullptr;        // one a slot
  const shm::LoadRecord* details = nullptr;  // one a slot
  const shm::ServiceLoadRecord* load = nullptr;
  const shm::WorkersWriter* workers = nullptr;
  shm::SharedServiceRecord* shared = nullptr;
  shm::SharedInstanceRecord* shared_instances = nullptr;
  shm::Word64* breakers = nullptr;  // one a slot
  std::uint32_t index = 0;          // of the service's record

  Tickets tickets;
  BeatWatch load_beat;
  BeatWatch heartbeat;

  [[nodiscard]] GenerationView& first() noexcept { return groups[0]; }
  [[nodiscard]] const GenerationView& first() const noexcept { return groups[0]; }

  // Writes plain fields only, so a fork handler may call it.
  void poison() noexcept {
    for (GenerationView& group : groups)
      group.poison();
    path = Path::long_way;
    may_arm = false;
    group_count = 0;
  }

  // Allows the straight paths, where they decide as choose() would. Only when picks may be counted
  // and nothing needs attention.
  void arm() noexcept {
    may_arm = true;
    path = straight_path();
    if (path == Path::table) first().arm();
  }

 private:
  [[nodiscard]] Path straight_path() const noexcept {
    // A plain instance is right in panic too, so only a service that fails then must look.
    const bool may_fail = policy.stale_mode != static_cast<std::uint32_t>(PanicMode::none) ||
                          (policy.panic_percent != 0 &&
                           policy.panic_mode == static_cast<std::uint32_t>(PanicMode::fail));
    const bool is_limited = policy.max_in_flight != 0 || policy.service_max_in_flight != 0;
    if (group_count != 1 || may_fail || is_limited) return Path::long_way;
    const bool is_bounded = policy.hash_bound_percent != 0;
    switch (first().kind) {
      case shm::LookupKind::table:
        return is_bounded ? Path::bounded : Path::table;
      case shm::LookupKind::ring:
        return is_bounded ? Path::long_way : Path::ring;
      case shm::LookupKind::schedule:
        if (policy.strategy == Strategy::round_robin) return Path::turns;
        if (policy.strategy == Strategy::random) return Path::random;
        // Where all members are compared, and with keyed strategies that came with a schedule,
        // which no checker publishes.
        if (!compares_load(policy.strategy) || policy.choices == 0 ||
            first().member_count <= policy.choices || sums_rows) {
          return Path::long_way;
        }
        return Path::least;
      case shm::LookupKind::none:
        break;
    }
    return Path::long_way;
  }
};

// Whether picks go by what the load board publishes.
[[nodiscard]] constexpr bool uses_load(const Policy& policy) noexcept {
  return compares_load(policy.strategy) ||
         (is_keyed(policy.strategy) && policy.hash_bound_percent != 0);
}

// What every pick of a service with this policy tells its report.
[[nodiscard]] constexpr std::uint8_t constant_flags(const Policy& policy) noexcept {
  std::uint8_t flags = 0;
  if (uses_load(policy) || policy.max_in_flight != 0 || policy.service_max_in_flight != 0 ||
      policy.retry_percent != 0) {
    flags |= pick_flags::kJournals;
  }
  if (policy.breaker_consecutive != 0 || policy.breaker_rate_percent != 0) {
    flags |= pick_flags::kFeedsBreaker;
  }
  if (policy.watches_failures) flags |= pick_flags::kWatched;
  return flags;
}

// Fills `view` (disarmed) from the service's record `index` under root `entered`. False as with
// read_generation(), also if the files have no room for what belongs to the service. The view keeps
// pointers to and into both.
template <class Table>
[[nodiscard]] bool read_service(const Table& table, const shm::WorkersWriter& workers,
                                std::uint32_t index, std::uint64_t entered,
                                ServiceView& view) noexcept {
  view.poison();
  if (index >= table.services.size() || index >= table.service_loads.size() ||
      index >= workers.services.size()) {
    return false;
  }
  const shm::ServiceRecord& record = table.services[index];
  view.record = &record;
  view.header = table.header;
  view.instances = table.instances.data();
  view.loads = table.loads.data();
  view.details = table.load_details.data();
  view.load = &table.service_loads[index];
  view.workers = &workers;
  view.shared = &workers.services[index];
  view.shared_instances = workers.instances.data();
  view.breakers = workers.breakers.data();
  view.index = index;
  view.policy = get_policy(record.policies[shm::buffer_of(entered)]);
  view.flags = constant_flags(view.policy);
  view.sums_rows = false;
  view.load_beat.forget();
  view.heartbeat.forget();
  const auto count = static_cast<std::uint32_t>(read_group_count(record, entered));
  // What a slot's number leads to in any of the files.
  const std::uint64_t slots =
      std::min({table.states.size(), table.instances.size(), table.loads.size(),
                table.load_details.size(), workers.breakers.size(), workers.instances.size()});
  for (std::uint32_t g = 0; g < count; ++g) {
    GenerationView& group = view.groups[g];
    if (!read_generation(table, record, entered, group, g)) {
      view.poison();
      return false;
    }
    group.slot_count = std::min(group.slot_count, slots);
    group.open_breakers = &view.shared->open_breakers;
    group.breakers = view.breakers;
    group.flags = view.flags;
    group.service = index;
  }
  view.group_count = count;
  return true;
}

}  // namespace ballast::engine
