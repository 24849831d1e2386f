// When the roster is composed and applied; see steward.hpp.
#include "engine/checker/control/steward.hpp"

#include <algorithm>
#include <utility>

namespace ballast::checker {

using std::chrono::steady_clock;

Steward::Steward(Loop& loop, Apply apply, OnError on_error)
    : loop_(loop),
      apply_(std::move(apply)),
      on_error_(std::move(on_error)),
      timer_(loop.timers().create([this] { apply_gathered(); })) {}

Steward::~Steward() {
  loop_.timers().destroy(timer_);
}

Settings Steward::composed(shm::EventBy cause) const {
  Settings settings = roster_.compose();
  settings.cause = cause;
  return settings;
}

template <class Undo>
shm::Status Steward::apply_now(shm::EventBy cause, Undo undo) {
  const shm::Status applied = apply_(composed(cause));
  if (!applied) {
    undo();
    return applied;
  }
  // What sources found meanwhile is in the roster, so there is nothing left to gather for.
  gathering_ = false;
  loop_.timers().disarm(timer_);
  return applied;
}

shm::Status Steward::configure(Settings configured) {
  const Roster before = roster_;
  roster_.configure(std::move(configured));
  return apply_now(shm::EventBy::config, [&] { roster_ = before; });
}

shm::Status Steward::change(RuntimeChanges changes) {
  RuntimeChanges before = roster_.changes();
  roster_.change(std::move(changes));
  return apply_now(shm::EventBy::operators, [&] { roster_.change(std::move(before)); });
}

shm::Status Steward::apply() {
  return apply_now(shm::EventBy::operators, [] {});
}

void Steward::discover(const std::string& service, std::size_t source,
                       std::vector<InstanceSettings> instances) {
  roster_.discover(service, source, std::move(instances));
  if (std::exchange(gathering_, true)) return;
  loop_.timers().arm(timer_, std::max(steady_clock::now() + kGatherPeriod, not_before_));
}

void Steward::apply_gathered() {
  gathering_ = false;
  const auto from = steady_clock::now();
  const shm::Status applied = apply_(composed(shm::EventBy::discovery));
  const auto now = steady_clock::now();
  not_before_ = now + kApplyPauseFactor * (now - from);
  if (!applied) on_error_(applied.error());
}

}  // namespace ballast::checker
