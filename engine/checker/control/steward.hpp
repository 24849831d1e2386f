// Keeps the roster and sees to it that the checker does what the roster says: at once for a reload
// and for what an operator changes, who both want to know whether it worked; together with whatever
// else comes meanwhile for sets that sources found. What cannot be applied leaves the roster as it
// was: of sets that were found together each is tried alone then, and one that is refused is
// forgotten and told of, so that it cannot stand in the way of others or of an operator.
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
  // What became of a set that a source found: whether it counts.
  using OnJudged = std::function<void(const std::string& service, std::size_t source,
                                      const shm::Status& status)>;

  // `loop` must outlive the steward. Nothing is applied before somebody asks for it.
  Steward(Loop& loop, Apply apply, OnJudged on_judged);
  ~Steward();
  Steward(const Steward&) = delete;
  Steward& operator=(const Steward&) = delete;

  [[nodiscard]] const Roster& roster() const noexcept { return roster_; }

  // How often something was applied, or tried: what was read before and after a change may differ.
  [[nodiscard]] std::uint64_t applications() const noexcept { return applications_; }

  // For the start, while nothing is to be applied yet.
  void begin_with(Settings configured) { roster_.configure(std::move(configured)); }
  void begin_with(RuntimeChanges changes) { roster_.change(std::move(changes)); }
  void inherit(const std::string& service, std::size_t source,
               std::vector<InstanceSettings> instances) {
    roster_.inherit(service, source, std::move(instances));
  }

  // At once. On error the roster is as before.
  shm::Status configure(Settings configured);
  shm::Status change(RuntimeChanges changes);
  // What it began with.
  shm::Status apply();

  // What was found until now, without waiting for more.
  void settle();

  // Soon.
  void discover(const std::string& service, std::size_t source,
                std::vector<InstanceSettings> instances);

 private:
  // What the roster says now, and what brought that about.
  [[nodiscard]] Settings composed(shm::EventBy cause) const;
  shm::Status apply_composed(shm::EventBy cause);
  template <class Undo>
  shm::Status apply_now(shm::EventBy cause, Undo undo);
  void arm_gathering();
  void apply_gathered();
  void judge(const std::vector<Roster::Key>& keys);

  Loop& loop_;
  Apply apply_;
  OnJudged on_judged_;
  Roster roster_;
  std::uint64_t applications_ = 0;
  Timers::Id timer_;
  bool gathering_ = false;
  bool alone_ = false;  // one set after the other: together they were refused
  Timers::TimePoint not_before_;
};

}  // namespace ballast::checker
