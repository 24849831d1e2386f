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

#include "engine/agent_word.hpp"
#include "engine/checker/loads/load_board.hpp"
#include "engine/checker/publishing/notice.hpp"
#include "engine/checker/publishing/published_instance.hpp"
#include "engine/checker/publishing/recorder.hpp"
#include "engine/checker/settings.hpp"
#include "shm/lease.hpp"
#include "shm/result.hpp"
#include "shm/segment.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

struct TickReport {
  std::uint64_t reaped_rows = 0;
  std::uint64_t abandoned = 0;  // requests that reaped rows had in flight
  std::uint64_t freed_slots = 0;
  std::uint64_t tokens_corrected = 0;   // limits that the dead had left out of step
  std::uint64_t permits_freed = 0;      // half-open permits of workers that are gone
  std::uint64_t budgets_corrected = 0;  // ejection budgets that the dead had left too small
  bool drained_previous = false;        // the segment before the last growth is gone now
  bool handover_requested = false;      // a successor is ready: leave
  bool directory_gone = false;          // the locator was removed or replaced: stop
  std::vector<Notice> notices;          // what steering decided since the last tick
};

// How long a slot stays unused after its instance left, at least. Correctness does not need it (the
// generation check does that); it keeps late reports and human readers from meeting a new tenant.
inline constexpr std::uint64_t kCoolDownNs = 10'000'000'000U;

// CLOCK_MONOTONIC in milliseconds, by which steering decides; tests pass times of their own.
[[nodiscard]] std::uint64_t steady_ms() noexcept;

// Whether a table can hold so many services and instances at all.
[[nodiscard]] shm::Status check_size(const Settings& settings);

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
  // service is republished only if its members, weights, policy or administration changed, and its
  // lookup arrays are built again only if they depend on what did. Grows if it must. On
  // error (`full`, disk) the table is as it was before.
  shm::Status apply(const Settings& settings, std::uint64_t now_ms = steady_ms());

  // The settings last applied, and all their instances.
  [[nodiscard]] const Settings& settings() const noexcept;
  [[nodiscard]] const std::vector<PublishedInstance>& instances() const noexcept;
  // How often the lookup arrays of a service were built, so far.
  [[nodiscard]] std::uint64_t placements_built() const noexcept;

  // One store, seen by every worker at once. False if the slot has another tenant by now or none,
  // or if it already said so.
  bool set_health(std::uint16_t slot, std::uint32_t incarnation, shm::Health health,
                  shm::Reason reason, std::uint64_t now_ms = steady_ms());

  // What an instance's agent said: which of its wishes hold is one store as well, and never a new
  // generation. False if it said nothing new, or the slot has another tenant by now or none.
  bool set_agent(std::uint16_t slot, std::uint32_t incarnation, const engine::AgentReport& report,
                 std::uint64_t now_ms = steady_ms());
  // All that it said so far, also to checkers before this one.
  [[nodiscard]] engine::AgentReport agent(std::uint16_t slot, std::uint32_t incarnation) const;

  // An operator's ejection for so long, at once; 0 takes it back. `not_found` as above, `full` when
  // the service's ejection budget is used up.
  shm::Status eject(std::uint16_t slot, std::uint32_t incarnation, Milliseconds duration,
                    std::uint64_t now_ms = steady_ms());

  // Counts a finished check for tools to show.
  void record_check(std::uint16_t slot, std::uint32_t incarnation, bool passed,
                    std::uint32_t latency_us);

  // To be called about ten times a second: heartbeat, rows of the dead, slots that cooled down, the
  // segment before the last growth, and what steering does.
  TickReport tick(std::uint64_t now_ms = steady_ms());

  // Writes a transition into the flight recorder and tells it to the sink. What `apply` and `tick`
  // themselves bring about they record; what others do, they record by this.
  void record(Transition transition);
  void set_transition_sink(TransitionSink sink);

  // What steering decided since the last tick. To be asked for before `apply`, which forgets it:
  // its indices are those of the settings before.
  [[nodiscard]] std::vector<Notice> take_notices();

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
  // The segment before the last growth, while workers are in it; else null.
  [[nodiscard]] const shm::CheckerSegment* draining() const noexcept;
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
