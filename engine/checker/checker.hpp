// The checker, put together: settings go in, probes run, and what they find is published. It starts
// without the lease ("in the shadow"), checking and publishing nothing, so that a planned upgrade
// has an answer for every instance before it takes over; `take` makes it the one writer of its
// namespace. If the process dies, workers go on with what is published, and the next checker goes
// on from there.
//
// One thread: everything is called from, and called back on, the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/checker/event.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/metrics/check_tally.hpp"
#include "engine/checker/probing/prober.hpp"
#include "engine/checker/publishing/publisher.hpp"
#include "engine/checker/publishing/transition.hpp"
#include "engine/checker/settings.hpp"
#include "shm/lease.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

// How often the heartbeat beats, rows of the dead are reaped and hand-overs are noticed.
inline constexpr std::chrono::milliseconds kTickPeriod{100};

// Why the checker wants to stop.
enum class StopReason : std::uint8_t {
  handover,        // a successor is ready
  directory_gone,  // the files were removed: another checker may serve the name by now
};

struct CheckerOptions {
  ProberOptions prober;
  EventSink on_event;
  // Asked at each tick while a successor waits; null: always.
  std::function<bool()> may_hand_over;
  std::function<void(StopReason)> on_stop;  // called once; the owner then calls `leave`
};

class Checker {
 public:
  // `loop` must outlive the checker.
  Checker(Loop& loop, CheckerOptions options);
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // Starts checking without publishing. What the directory's present table says of an instance is
  // where its rise and fall start from.
  void start_in_shadow(const Settings& settings, const std::string& directory);
  // Instances that have not been checked even once yet.
  [[nodiscard]] std::size_t unchecked() const noexcept;

  // Becomes the one writer: adopts or makes the segment, publishes the settings, and whatever the
  // shadow has found out that the table does not say. Instances that it does not check yet start
  // from the table's state. On error nothing is published and the lease is free again.
  shm::Status take(shm::Lease lease, const Settings& settings);

  // Changes the settings of a running checker. Instances that stay keep their state, counts and
  // connections. On error everything goes on as before.
  shm::Status reload(const Settings& settings);

  // Something happened that people may want to find again: into the flight recorder and the log, in
  // one step (before `take` and after `leave`, the log alone). docs/events.md says how to add a
  // kind.
  void record(Transition transition);

  // Leaves in order; the table stays for the workers. The checker is of no more use.
  void leave() noexcept;

  // An operator's ejection of an instance for so long, at once; 0 takes it back. `not_found` for an
  // instance that is not published, `full` when the service's ejection budget is used up.
  shm::Status eject(const std::string& service, const shm::Endpoint& instance,
                    Milliseconds duration);

  // What it publishes with; null before `take` and after `leave`.
  [[nodiscard]] const Publisher* publisher() const noexcept;

  [[nodiscard]] ProberStats stats() const;
  // By service and kind, since the process began.
  [[nodiscard]] const std::vector<CheckCounts>& check_counts() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast::checker
