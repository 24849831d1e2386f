// When the roster is composed and applied; see steward.hpp.
#include "engine/checker/control/steward.hpp"

#include <algorithm>
#include <utility>

namespace ballast::checker {

using std::chrono::steady_clock;

Steward::Steward(Loop& loop, Apply apply, OnJudged on_judged)
    : loop_(loop),
      apply_(std::move(apply)),
      on_judged_(std::move(on_judged)),
      timer_(loop.timers().create([this] { apply_gathered(); })) {}

Steward::~Steward() {
  loop_.timers().destroy(timer_);
}

Settings Steward::composed(shm::EventBy cause) const {
  Settings settings = roster_.compose();
  settings.cause = cause;
  return settings;
}

shm::Status Steward::apply_composed(shm::EventBy cause) {
  ++applications_;
  return apply_(composed(cause));
}

template <class Undo>
shm::Status Steward::apply_now(shm::EventBy cause, Undo undo) {
  const shm::Status applied = apply_composed(cause);
  if (!applied) undo();
  return applied;
}

shm::Status Steward::configure(Settings configured) {
  const Roster before = roster_;
  roster_.configure(std::move(configured));
  return apply_now(shm::EventBy::config, [&] { roster_ = before; });
}

shm::Status Steward::change(RuntimeChanges changes) {
  const Roster before = roster_;
  roster_.change(std::move(changes));
  return apply_now(shm::EventBy::operators, [&] { roster_ = before; });
}

shm::Status Steward::apply() {
  return apply_now(shm::EventBy::operators, [] {});
}

void Steward::discover(const std::string& service, std::size_t source,
                       std::vector<InstanceSettings> instances) {
  roster_.offer(service, source, std::move(instances));
  arm_gathering();
}

void Steward::arm_gathering() {
  if (std::exchange(gathering_, true)) return;
  loop_.timers().arm(timer_, std::max(steady_clock::now() + kGatherPeriod, not_before_));
}

void Steward::settle() {
  while (!roster_.offered().empty())
    apply_gathered();
}

void Steward::apply_gathered() {
  gathering_ = false;
  std::vector<Roster::Key> keys = roster_.offered();
  if (alone_ && keys.size() > 1) keys.resize(1);
  if (!keys.empty()) judge(keys);
  const bool all = roster_.offered().empty();
  if (all) alone_ = false;
  if (!all) arm_gathering();
}

void Steward::judge(const std::vector<Roster::Key>& keys) {
  for (const Roster::Key& key : keys)
    roster_.swap_offered(key);
  const auto from = steady_clock::now();
  const shm::Status applied = apply_composed(shm::EventBy::discovery);
  const auto now = steady_clock::now();
  not_before_ = now + kApplyPauseFactor * (now - from);
  if (!applied) {
    for (const Roster::Key& key : keys)
      roster_.swap_offered(key);
    alone_ = true;
    if (keys.size() > 1) return;
  }
  for (const Roster::Key& key : keys) {
    roster_.forget_offered(key);
    on_judged_(key.first, key.second, applied);
  }
}

}  // namespace ballast::checker
