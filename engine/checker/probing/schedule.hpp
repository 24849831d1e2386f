// When the prober's instances are checked: the timers, the plan that keeps checks apart, and the
// lines of those who wait for a turn because much happens at once. What a check is, and whether
// there is room for one, the prober knows. One prober owns it, one thread; whoever takes over
// starts with an empty schedule.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/checker/loop/timers.hpp"
#include "engine/checker/probing/health.hpp"
#include "engine/checker/probing/start_line.hpp"
#include "engine/checker/probing/start_plan.hpp"

namespace ballast::checker {

// Where an instance stands. At rest, up to `in_line`, its timer is the time of the next check, if
// it has one; during a check the check's deadline.
enum class Phase : std::uint8_t {
  idle,      // nothing is to come
  newcomer,  // its first check is planned in the next turn
  planned,
  pressing,    // to be checked in the next turn, however many others are
  in_line,     // to be checked, as soon as it is its turn
  connecting,  // the check that runs waits for its connection
  hurrying,    // so it does, and is to try another one soon (a connection was lost just now)
  awaiting,    // the check waits for its answer
  asking,      // the same on a kept connection
};

// An instance's part in the schedule.
struct Scheduled {
  std::uint32_t index = 0;
  Phase phase = Phase::idle;
  std::uint8_t line = 0;  // which, if it is in one
  Timers::Id timer = 0;
  StartPlan::Slot slot = StartPlan::kBeyond;  // while planned
  StartLine::Ticket ticket = 0;               // while in line
  TimePoint due;                              // when the check was wanted
  Microseconds counted{0};                    // the interval that the plan has been told; 0: none

  [[nodiscard]] bool resting() const noexcept { return phase <= Phase::in_line; }
};

class Schedule {
 public:
  // What a check may have to wait for, each with a line of its own.
  enum class For : std::uint8_t { turn = 0, stream = 1, command = 2 };

  class Starter {
   public:
    // Null if there is none with this index any more.
    [[nodiscard]] virtual Scheduled* scheduled(std::uint32_t index) = 0;
    // Its turn has come: whether it starts or comes back with plan(), press() or wait(). `hurried`
    // as with start_at_once().
    virtual void start(std::uint32_t index, bool hurried) = 0;
    // Whether one more check could be made as far as this goes.
    [[nodiscard]] virtual bool has_room(For what) const = 0;

   protected:
    ~Starter() = default;
  };

  // Both must outlive the schedule.
  Schedule(Timers& timers, Starter& starter, std::uint64_t seed);
  ~Schedule();
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

  // Tells the plan how often the instance is checked; 0: never.
  void count(Scheduled& one, Microseconds interval);

  // For the first time, or for the first time in a new way. Planned together with all that come in
  // this turn: how close they may come depends on how many there are.
  void plan_first(Scheduled& one);
  void plan(Scheduled& one, const Delay& delay);
  // After a check that has just ended: the delay counts from when that was due, so that neither
  // what it took nor how late it started makes an interval longer.
  void plan_next(Scheduled& one, const Delay& delay);
  // In the next turn of the loop, not from within this one.
  void press(Scheduled& one);
  // The one that is checked right now is to be so at once: true, or it has joined the line.
  // `hurried` is kept for it.
  [[nodiscard]] bool start_at_once(Scheduled& one, bool hurried);
  // There is no room for its check.
  void wait(Scheduled& one, For what, bool hurried);
  // There is room again: who waits for it is served in the next turn of the loop.
  void room_again(For what);
  // Whether others wait for that already, so that it would be out of turn.
  [[nodiscard]] bool anybody_waits(For what) const { return !line(what).empty(); }
  // The time of a check at rest has come: whether to make it. If not, it is put off.
  [[nodiscard]] bool on_due(Scheduled& one);
  // Nothing is to come any more: it starts, or is told anew.
  void leave(Scheduled& one);

  // How often checks were put off because too many would have started at once.
  [[nodiscard]] std::uint64_t held_back() const noexcept { return held_back_; }

 private:
  [[nodiscard]] StartLine& line(For what) { return lines_[static_cast<std::size_t>(what)]; }
  [[nodiscard]] const StartLine& line(For what) const {
    return lines_[static_cast<std::size_t>(what)];
  }
  TimePoint put_off(Scheduled& one, const Delay& delay);
  void join(Scheduled& one, For what, bool hurried);
  void plan_newcomers();
  void serve();
  void serve(For what, TimePoint now);
  void serve_by(TimePoint when);

  Timers& timers_;
  Starter& starter_;
  Random random_;
  StartPlan plan_;
  std::array<StartLine, 3> lines_;
  Timers::Id newcomers_timer_;
  Timers::Id serving_timer_;
  TimePoint serving_at_ = TimePoint::max();  // when that fires
  std::vector<std::uint32_t> newcomers_;
  std::uint64_t held_back_ = 0;
};

}  // namespace ballast::checker
