// Keeps the roster and sees to it that the checker does what the roster says: at once for a reload
// and for what an operator changes, who both want to know whether it worked; together with whatever
// else comes meanwhile for sets that sources found. What cannot be applied leaves the roster as it
// was, but for a found set, which is tried again with the next change.
//
// One thread: everything is called from, and called back on, the loop's. If the process dies, the
// roster goes with it: its parts are made again from the configuration, the sources and the file of
// the operators' changes.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "engine/checker/control/roster.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

// Sets that sources found are applied so long after the first of them, together.
inline constexpr std::chrono::milliseconds kGatherPeriod{5};
// Applying them takes at most one part in so many of the loop's time.
inline constexpr int kApplyPauseFactor = 4;

class Steward {
 public:
  // Makes the checker do what it is given.
  using Apply = std::function<shm::Status(const Settings&)>;
  // A set that a source found could not be applied.
  using OnError = std::function<void(const shm::Error&)>;

  // `loop` must outlive the steward. Nothing is applied before somebody asks for it.
  Steward(Loop& loop, Apply apply, OnError on_error);
  ~Steward();
  Steward(const Steward&) = delete;
  Steward& operator=(const Steward&) = delete;

  [[nodiscard]] const Roster& roster() const noexcept { return roster_; }

  // For the start, while nothing is to be applied yet.
  void begin_with(Settings configured) { roster_.configure(std::move(configured)); }
  void begin_with(RuntimeChanges changes) { roster_.change(std::move(changes)); }
  void begin_with(const std::string& service, std::size_t source,
                  std::vector<InstanceSettings> instances) {
    roster_.discover(service, source, std::move(instances));
  }

  // At once. On error the roster is as before.
  shm::Status configure(Settings configured);
  shm::Status change(RuntimeChanges changes);
  // What it began with.
  shm::Status apply();

  // Soon.
  void discover(const std::string& service, std::size_t source,
                std::vector<InstanceSettings> instances);

 private:
  // What the roster says now, and what brought that about.
  [[nodiscard]] Settings composed(shm::EventBy cause) const;
  template <class Undo>
  shm::Status apply_now(shm::EventBy cause, Undo undo);
  void apply_gathered();

  Loop& loop_;
  Apply apply_;
  OnError on_error_;
  Roster roster_;
  Timers::Id timer_;
  bool gathering_ = false;
  Timers::TimePoint not_before_;
};

}  // namespace ballast::checker
