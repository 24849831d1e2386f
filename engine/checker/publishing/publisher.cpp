// Applying settings, and what others tell the publisher and ask it.
#include "engine/checker/publishing/publisher.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "engine/agent_word.hpp"
#include "engine/breaker_word.hpp"
#include "engine/checker/publishing/instance_use.hpp"
#include "engine/checker/publishing/publisher_state.hpp"
#include "engine/ejection_budget.hpp"
#include "shm/generation.hpp"

namespace ballast::checker {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words

// Of a clock that never goes back.
std::uint64_t monotonic_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace

std::uint64_t steady_ms() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<Milliseconds>(now).count());
}

Publisher::Publisher(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Publisher::Publisher(Publisher&&) noexcept = default;
Publisher& Publisher::operator=(Publisher&&) noexcept = default;
Publisher::~Publisher() = default;

shm::Status Publisher::apply(const Settings& settings, std::uint64_t now_ms) {
  State& s = *state_;
  // Growing would put files into a directory that is another checker's by now.
  if (!s.lease.still_in_place()) {
    return shm::Error{shm::ErrorKind::not_found, 0, "publish into", s.lease.directory(),
                      "the directory was removed or replaced; start ballastd again"};
  }
  const auto sticky = read_sticky_key_file(settings.sticky_key_file);
  if (!sticky) return sticky.error();
  // A generation that a damaged table or a crash left unusable is built again, and so is one that
  // was marked superseded by a checker whose directory was gone, and has come back.
  for (std::size_t i = 0; i < s.segment.table.services.size(); ++i) {
    shm::ServiceRecord& record = s.segment.table.services[i];
    if (shm::is_superseded(record.root.load(kRelaxed)) || !engine::is_whole(s.segment.table, i)) {
      record.settings_hash.store(0, kRelaxed);
    }
  }
  auto plan = make_plan(s.segment.table, settings, s.kept);
  if (!plan && plan.error().kind != shm::ErrorKind::full) return plan.error();
  const bool rows_fit = settings.max_workers <= s.segment.workers.directory.size();
  if (!plan || !rows_fit || !s.lock) return s.grow(settings, *sticky, now_ms);
  std::vector<Transition> changes = s.changes_by(s.segment.table, *plan, settings);
  carry_out(*plan, settings, *sticky, s.segment.table, s.segment.workers);
  // Only now is a first segment named: workers that still pick from the files of a directory that
  // was removed would find no service in an empty one.
  if (s.lease.active_segment() != s.segment.id) s.lease.set_active_segment(s.segment.id);
  s.remember(settings, *plan, now_ms);
  for (Transition& change : changes)
    s.recorder.record(std::move(change));
  s.record_breakers();
  return shm::Done{};
}

shm::Status check_size(const Settings& settings) {
  std::size_t instances = 0;
  for (const ServiceSettings& service : settings.services)
    instances += service.instances.size();
  if (settings.services.size() <= kMaxServices && instances <= kMaxInstances) return shm::Done{};
  return shm::Error{shm::ErrorKind::full,
                    0,
                    "publish the settings",
                    {},
                    std::to_string(settings.services.size()) + " services with " +
                        std::to_string(instances) + " instances are more than " +
                        std::to_string(kMaxServices) + " and " + std::to_string(kMaxInstances) +
                        "; split them over several namespaces"};
}

void Publisher::State::remember(const Settings& wanted, const Plan& plan, std::uint64_t now_ms) {
  settings = wanted;
  ever_applied = true;
  kept.keep_only(settings);
  instances.clear();
  by_slot.assign(segment.table.instances.size(), kNobody);
  for (std::size_t s = 0; s < plan.services.size(); ++s) {
    for (std::size_t i = 0; i < plan.services[s].instances.size(); ++i) {
      const InstancePlan& p = plan.services[s].instances[i];
      const shm::State state = shm::unpack(segment.table.states[p.slot].load(kRelaxed));
      by_slot[p.slot] = static_cast<std::uint16_t>(instances.size());
      instances.push_back(
          {p.slot, p.incarnation, s, i, p.is_new || p.returns,
           engine::checked(state, segment.table.load_details[p.slot].agent.load(kRelaxed)).health});
    }
  }
  follow_loads(plan);
  follow_breakers(plan);
  steering.follow(segment, settings, instances, now_ms);
  forget_loads();
}

void Publisher::State::follow_breakers(const Plan& plan) {
  std::vector<WatchedService> services;
  for (std::size_t s = 0; s < plan.services.size(); ++s) {
    const ServicePlan& service = plan.services[s];
    const engine::Policy& policy = settings.services[s].policy;
    WatchedService& watched = services.emplace_back();
    watched.record = service.record;
    watched.has_breaker = engine::has_breaker(policy);
    watched.cap = engine::ejection_cap(policy.max_ejected_percent, service.instances.size());
    for (const InstancePlan& p : service.instances)
      watched.instances.push_back({p.slot, p.incarnation});
  }
  breakers.follow(segment, std::move(services));
}

void Publisher::State::follow_loads(const Plan& plan) {
  std::vector<LoadMember> members;
  bool needed = false;
  for (std::size_t s = 0; s < plan.services.size(); ++s) {
    const engine::Policy& policy = settings.services[s].policy;
    needed |= engine::needs_load(policy);
    const CostRule rule = policy.strategy == Strategy::adaptive ? CostRule::smooth : CostRule::peak;
    for (const InstancePlan& p : plan.services[s].instances) {
      members.push_back(
          {p.slot, p.incarnation, static_cast<std::uint32_t>(plan.services[s].record), rule});
    }
  }
  loads.follow(segment, members, settings.load_interval, needed, monotonic_ns());
}

PublishedInstance* Publisher::State::find(std::uint16_t slot, std::uint32_t incarnation) {
  if (slot >= by_slot.size() || by_slot[slot] == kNobody) return nullptr;
  PublishedInstance& instance = instances[by_slot[slot]];
  return instance.incarnation == incarnation ? &instance : nullptr;
}

void Publisher::State::record_breakers() {
  for (const BreakerChange& change : breakers.take_changes()) {
    const PublishedInstance* instance = find(change.slot, change.incarnation);
    if (instance == nullptr) continue;
    const ServiceSettings& service = settings.services[instance->service];
    Transition changed =
        about(service.name, service.instances[instance->instance],
              change.closed ? shm::EventKind::breaker_closed : shm::EventKind::breaker_opened,
              change.closed ? shm::EventBy::config : shm::EventBy::checker);
    changed.event.from = static_cast<std::uint8_t>(change.closed ? engine::BreakerState::open
                                                                 : engine::BreakerState::half_open);
    changed.event.to = static_cast<std::uint8_t>(change.closed ? engine::BreakerState::closed
                                                               : engine::BreakerState::open);
    recorder.record(std::move(changed));
  }
}

void Publisher::record(Transition transition) {
  state_->recorder.record(std::move(transition));
}
void Publisher::set_transition_sink(TransitionSink sink) {
  state_->recorder.set_sink(std::move(sink));
}

const Settings& Publisher::settings() const noexcept {
  return state_->settings;
}

std::uint64_t Publisher::placements_built() const noexcept {
  return state_->kept.builds();
}

const std::vector<PublishedInstance>& Publisher::instances() const noexcept {
  return state_->instances;
}

bool Publisher::set_health(std::uint16_t slot, std::uint32_t incarnation, shm::Health health,
                           shm::Reason reason, std::uint64_t now_ms) {
  State& s = *state_;
  PublishedInstance* instance = s.find(slot, incarnation);
  if (instance == nullptr) return false;
  const shm::Health before = s.shown_health(slot);
  const bool is_news = s.steering.set_health(s.segment, slot, health, reason, now_ms);
  instance->health = health;
  s.count_flip(slot, before);
  if (is_news) s.forget_loads();
  return is_news;
}

bool Publisher::set_agent(std::uint16_t slot, std::uint32_t incarnation,
                          const engine::AgentReport& report, std::uint64_t now_ms) {
  State& s = *state_;
  if (s.find(slot, incarnation) == nullptr) return false;
  const shm::Health before = s.shown_health(slot);
  if (!s.steering.set_agent(s.segment, slot, report, now_ms)) return false;
  s.count_flip(slot, before);
  s.forget_loads();
  return true;
}

engine::AgentReport Publisher::agent(std::uint16_t slot, std::uint32_t incarnation) const {
  if (state_->find(slot, incarnation) == nullptr) return {};
  return state_->steering.agent(slot);
}

shm::Status Publisher::eject(std::uint16_t slot, std::uint32_t incarnation, Milliseconds duration,
                             std::uint64_t now_ms) {
  State& s = *state_;
  const PublishedInstance* const instance = s.find(slot, incarnation);
  const auto for_ms = static_cast<std::uint64_t>(std::max<Milliseconds::rep>(0, duration.count()));
  const auto done = instance == nullptr ? Steering::Ejected::unknown_slot
                                        : s.steering.eject(s.segment, slot, for_ms, now_ms);
  if (done == Steering::Ejected::done) {
    // For who waits until nobody picks it any more.
    const std::uint64_t record = s.segment.table.instances[slot].service.load(kRelaxed);
    if (record < s.segment.table.services.size())
      shm::restate(s.segment.table.services[record].root);
    s.forget_loads();
    return shm::Done{};
  }
  if (done == Steering::Ejected::unknown_slot) {
    return shm::Error{shm::ErrorKind::not_found, 0, "eject", {}, "there is no such instance"};
  }
  const ServiceSettings& service = s.settings.services[instance->service];
  return shm::Error{shm::ErrorKind::full, 0, "eject", service.instances[instance->instance].text,
                    "as many instances of " + service.name +
                        " as max_ejected allows are out already; drain it instead"};
}

void Publisher::record_check(std::uint16_t slot, std::uint32_t incarnation, bool passed,
                             std::uint32_t latency_us) {
  if (state_->find(slot, incarnation) == nullptr) return;
  shm::InstanceRecord& record = state_->segment.table.instances[slot];
  record.checked_ns.store(shm::realtime_ns(), kRelaxed);
  record.check_us.store(latency_us, kRelaxed);
  record.checks.store(record.checks.load(kRelaxed) + 1, kRelaxed);
  state_->steering.on_check(slot, passed);
  if (!passed) record.check_failures.store(record.check_failures.load(kRelaxed) + 1, kRelaxed);
}

std::vector<Notice> Publisher::take_notices() {
  return state_->steering.take_notices();
}

std::chrono::nanoseconds Publisher::look_at_loads() {
  return state_->loads.look(state_->segment, monotonic_ns());
}
const LoadBoard& Publisher::loads() const noexcept {
  return state_->loads.board();
}

std::uint64_t Publisher::segment_id() const noexcept {
  return state_->segment.id;
}
std::uint64_t Publisher::term() const noexcept {
  return state_->lease.term();
}
bool Publisher::adopted() const noexcept {
  return state_->adopted;
}
const shm::CheckerSegment& Publisher::segment() const noexcept {
  return state_->segment;
}
const shm::CheckerSegment* Publisher::draining() const noexcept {
  return state_->previous ? &state_->previous->segment : nullptr;
}
const std::optional<shm::Error>& Publisher::lost_workers() const noexcept {
  return state_->lost_workers;
}

void Publisher::leave() noexcept {
  state_->segment.table.header->checker_pid.store(0, kRelaxed);
  state_->lease.leave();
}

}  // namespace ballast::checker
