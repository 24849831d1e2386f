// Writes what the checker knows into the table: which services and instances there are, how healthy
// each is, and that the checker lives. It owns the lease and the active segment, adopts what a dead
// checker left, and grows into a new segment when the old one is too small. If the process dies at
// any point, workers go on with what is published and the next Publisher goes on from there: every
// step is either one store, or invisible until one store, or found again and repeated by `apply`.
//
// Single-threaded, and only one in the host for a namespace, by the lease.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/checker/load_board.hpp"
#include "engine/checker/settings.hpp"
#include "shm/lease.hpp"
#include "shm/result.hpp"
#include "shm/segment.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

// An instance as it lies in the table, for whoever probes it.
struct PublishedInstance {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
  std::size_t service = 0;                    // index into the settings last applied
  std::size_t instance = 0;                   // index into that service's instances
  shm::Health health = shm::Health::unknown;  // adopted, or `unknown` for a new one
};

struct TickReport {
  std::uint64_t reaped_rows = 0;
  std::uint64_t abandoned = 0;  // requests that reaped rows had in flight
  std::uint64_t freed_slots = 0;
  std::uint64_t tokens_corrected = 0;  // limits that the dead had left out of step
  bool drained_previous = false;       // the segment before the last growth is gone now
  bool handover_requested = false;     // a successor is ready: leave
  bool directory_gone = false;         // the locator was removed or replaced: stop
};

// How long a slot stays unused after its instance left, at least. Correctness does not need it (the
// generation check does that); it keeps late reports and human readers from meeting a new tenant.
inline constexpr std::uint64_t kCoolDownNs = 10'000'000'000U;

class Publisher {
 public:
  // Goes on from the directory's active segment, or makes the first one, sized for `settings`.
  // Nothing of the settings is published yet, and a first segment is not named either: call
  // `apply`. If the active segment has a good table but its workers file is damaged or missing,
  // `apply` moves everything but the counts into another segment.
  static shm::Result<Publisher> open(shm::Lease lease, const Settings& settings);

  Publisher(Publisher&&) noexcept;
  Publisher& operator=(Publisher&&) noexcept;
  ~Publisher();

  // Makes the table say what the settings say. Instances that stay keep slot, counts and state; a
  // service is republished only if its members, weights or strategy changed. Grows if it must. On
  // error (`full`, disk) the table is as it was before.
  shm::Status apply(const Settings& settings);

  // All instances of the settings last applied.
  [[nodiscard]] const std::vector<PublishedInstance>& instances() const noexcept;

  // One store, seen by every worker at once. False if the slot has another tenant by now or none,
  // or if it already said so.
  bool set_health(std::uint16_t slot, std::uint32_t incarnation, shm::Health health,
                  shm::Reason reason);

  // Counts a finished check for tools to show.
  void record_check(std::uint16_t slot, std::uint32_t incarnation, bool passed,
                    std::uint32_t latency_us);

  // To be called about ten times a second: heartbeat, rows of the dead, slots that cooled down, the
  // segment before the last growth.
  TickReport tick();

  // One look at what workers do, published for picks to compare. Returns when to look next, which
  // `apply` may make sooner: after it, look at once.
  std::chrono::nanoseconds look_at_loads();
  // As of the last look.
  [[nodiscard]] const LoadBoard& loads() const noexcept;

  [[nodiscard]] std::uint64_t segment_id() const noexcept;
  [[nodiscard]] std::uint64_t term() const noexcept;
  // Whether the segment was found, not made: states of a former checker hold until checked again.
  [[nodiscard]] bool adopted() const noexcept;
  [[nodiscard]] const shm::CheckerSegment& segment() const noexcept;
  // What is wrong with the adopted segment's workers file, if that is lost.
  [[nodiscard]] const std::optional<shm::Error>& lost_workers() const noexcept;

  // Leaves in order: the table stays for the workers, the lease is free.
  void leave() noexcept;

 private:
  struct State;
  explicit Publisher(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace ballast::checker
