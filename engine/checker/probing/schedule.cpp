// Planning and serving.
#include "engine/checker/probing/schedule.hpp"

#include <array>
#include <utility>

namespace ballast::checker {

namespace {

using Clock = std::chrono::steady_clock;

// What is held back is wanted again as soon as that.
constexpr Delay kHeldBack{Microseconds(1000), Microseconds(3000)};
// How often those in line are looked at: for a turn; for a stream; for a command, which is a
// process and takes its time.
constexpr std::array<Microseconds, 3> kLook{Microseconds(1000), Microseconds(5000),
                                            Microseconds(50'000)};

}  // namespace

Schedule::Schedule(Timers& timers, Starter& starter, std::uint64_t seed)
    : timers_(timers),
      starter_(starter),
      random_(seed),
      newcomers_timer_(timers.create([this] { plan_newcomers(); })),
      serving_timer_(timers.create([this] { serve(); })) {}

Schedule::~Schedule() {
  timers_.destroy(newcomers_timer_);
  timers_.destroy(serving_timer_);
}

void Schedule::count(Scheduled& one, Microseconds interval) {
  if (one.counted != Microseconds(0)) plan_.remove(one.counted);
  one.counted = interval;
  if (interval != Microseconds(0)) plan_.add(interval);
}

void Schedule::plan_first(Scheduled& one) {
  timers_.disarm(one.timer);
  if (one.phase == Phase::newcomer) return;
  leave(one);
  one.phase = Phase::newcomer;
  newcomers_.push_back(one.index);
  timers_.arm(newcomers_timer_, Clock::now());
}

void Schedule::plan_newcomers() {
  for (const std::uint32_t index : std::exchange(newcomers_, {})) {
    // It may be gone by now, and its place another's; or its check was brought forward.
    Scheduled* const one = starter_.scheduled(index);
    if (one != nullptr && one->phase == Phase::newcomer) plan(*one, {});
  }
}

void Schedule::plan(Scheduled& one, const Delay& delay) {
  one.due = put_off(one, delay);
}

void Schedule::plan_next(Scheduled& one, const Delay& delay) {
  plan(one, after(delay, std::chrono::duration_cast<Microseconds>(Clock::now() - one.due)));
}

// Plans without forgetting since when the check has been due.
TimePoint Schedule::put_off(Scheduled& one, const Delay& delay) {
  leave(one);
  const StartPlan::Place place = plan_.plan(Clock::now(), delay, random_);
  one.phase = Phase::planned;
  one.slot = place.slot;
  timers_.arm(one.timer, place.when);
  return place.when;
}

void Schedule::press(Scheduled& one) {
  leave(one);
  one.phase = Phase::pressing;
  one.due = Clock::now();
  timers_.arm(one.timer, one.due);
}

bool Schedule::start_at_once(Scheduled& one, bool hurried) {
  if (one.phase == Phase::in_line) return false;
  const auto now = Clock::now();
  one.due = now;
  // Those who wait already come first.
  if (!anybody_waits(For::turn) && plan_.may_hurry(now)) return true;
  join(one, For::turn, hurried);
  return false;
}

void Schedule::wait(Scheduled& one, For what, bool hurried) {
  join(one, what, hurried);
}

void Schedule::room_again(For what) {
  if (anybody_waits(what)) serve_by(Clock::now());
}

void Schedule::join(Scheduled& one, For what, bool hurried) {
  leave(one);
  timers_.disarm(one.timer);
  one.phase = Phase::in_line;
  one.line = static_cast<std::uint8_t>(what);
  one.ticket = line(what).join(one.index, hurried);
  serve_by(Clock::now() + kLook[one.line]);
}

bool Schedule::on_due(Scheduled& one) {
  const auto now = Clock::now();
  if (one.phase == Phase::pressing) {
    if (!anybody_waits(For::turn) && plan_.may_hurry(now)) return true;
    join(one, For::turn, /*hurried=*/false);
    return false;
  }
  if (plan_.may_start(now)) return true;
  ++held_back_;
  put_off(one, kHeldBack);
  return false;
}

void Schedule::leave(Scheduled& one) {
  if (one.phase == Phase::planned) plan_.release(one.slot);
  if (one.phase == Phase::in_line) lines_[one.line].leave(one.ticket);
  if (one.resting()) one.phase = Phase::idle;
}

void Schedule::serve_by(TimePoint when) {
  if (serving_at_ <= when) return;
  serving_at_ = when;
  timers_.arm(serving_timer_, when);
}

void Schedule::serve() {
  serving_at_ = TimePoint::max();
  const auto now = Clock::now();
  for (const For what : {For::turn, For::stream, For::command}) {
    serve(what, now);
    if (anybody_waits(what)) serve_by(now + kLook[static_cast<std::size_t>(what)]);
  }
}

void Schedule::serve(For what, TimePoint now) {
  // Those who join meanwhile have to wait, or this would never end.
  for (std::size_t n = line(what).size(); n > 0 && anybody_waits(what); --n) {
    if (!(what == For::turn ? plan_.may_hurry(now) : starter_.has_room(what))) return;
    const auto next = line(what).call();
    Scheduled* const one = next ? starter_.scheduled(next->index) : nullptr;
    if (one == nullptr) continue;
    one->phase = Phase::idle;
    starter_.start(one->index, next->hurried);
  }
}

}  // namespace ballast::checker
