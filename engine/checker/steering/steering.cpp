// Following the settings, and the one way from an instance's memory to its state word.
#include "engine/checker/steering/steering.hpp"

#include <algorithm>
#include <cmath>

#include "engine/breaker.hpp"
#include "engine/checker/publishing/groups.hpp"
#include "engine/checker/publishing/instance_use.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/group_word.hpp"
#include "shm/crash_point.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"

namespace ballast::checker {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words
constexpr std::uint64_t kNsPerMs = 1'000'000;

// Of the time until which an instance is ejected, which nobody needs to the nanosecond.
constexpr std::uint64_t kByOperatorBit = 1;

// The table has times of CLOCK_REALTIME, for people; decisions are made by CLOCK_MONOTONIC. Zero
// stays zero.
std::uint64_t to_realtime_ns(std::uint64_t ms, std::uint64_t now_ms) {
  if (ms == 0) return 0;
  return shm::realtime_ns() + ms * kNsPerMs - now_ms * kNsPerMs;
}
std::uint64_t from_realtime_ns(std::uint64_t ns, std::uint64_t now_ms) {
  if (ns == 0) return 0;
  const std::uint64_t now_ns = shm::realtime_ns();
  if (ns >= now_ns) return now_ms + (ns - now_ns) / kNsPerMs;
  const std::uint64_t ago_ms = (now_ns - ns) / kNsPerMs;
  return ago_ms < now_ms ? now_ms - ago_ms : 1;
}

}  // namespace

void Steering::follow(const Segment& segment, const Settings& settings,
                      std::span<const PublishedInstance> published, std::uint64_t now_ms) {
  notices_.clear();  // about indices that mean nothing any more
  std::unordered_map<std::string, Service> known_services;
  for (Service& service : services_)
    known_services.emplace(service.name, std::move(service));
  auto known = std::exchange(instances_, {});
  services_.assign(settings.services.size(), {});
  attended_.clear();
  turn_ = 0;

  std::vector<std::vector<std::uint8_t>> groups(settings.services.size());
  for (std::size_t s = 0; s < services_.size(); ++s) {
    const ServiceSettings& from = settings.services[s];
    Service& service = services_[s];
    service.name = from.name;
    service.trusted = is_trusted(from.check);
    service.rise = from.check.rise;
    service.outlier = from.outlier;
    service.slow_start = from.slow_start;
    service.controller = from.controller;
    service.group_policy = {from.spillover.overprovisioning_percent, from.policy.panic_percent,
                            static_cast<PanicMode>(from.policy.panic_mode)};
    service.max_ejected_percent = from.policy.max_ejected_percent;
    service.failure_outcomes = from.policy.breaker_outcomes;
    service.slots.resize(from.instances.size());
    std::map<Group, std::uint8_t> numbers;
    for (const auto& [group, size] : count_groups(settings, from)) {
      numbers.emplace(group, static_cast<std::uint8_t>(numbers.size()));
      GroupMembers members;
      members.tier = static_cast<std::uint8_t>(group.tier);
      members.local = !group.is_remote;
      members.total = size.weights;
      service.members.push_back(members);
    }
    for (const InstanceSettings& instance : from.instances)
      groups[s].push_back(numbers.at(group_of(settings, from, instance)));
    service.next_judge_ms = now_ms;
    service.next_weigh_ms = now_ms;
  }

  std::set<std::uint16_t> is_new;
  for (const PublishedInstance& p : published) {
    Service& service = services_[p.service];
    service.slots[p.instance] = p.slot;
    service.record = segment.table.instances[p.slot].service.load(kRelaxed);
    Instance instance;
    const auto found = known.find(p.slot);
    const bool is_known = found != known.end() && found->second.incarnation == p.incarnation;
    if (is_known) instance = std::move(found->second);
    instance.slot = p.slot;
    instance.incarnation = p.incarnation;
    instance.service = p.service;
    instance.instance = p.instance;
    instance.weight = settings.services[p.service].instances[p.instance].weight;
    instance.group = groups[p.service][p.instance];
    instance.counted = false;
    instance.counted_ready = false;
    instance.counted_unchecked = false;
    instance.counted_weight = 0;
    instance.record = service.record;
    if (!is_known && !p.is_new) adopt(segment, instance, service, now_ms);
    // What is switched off forgets, whoever had it on: else it would go on, when it is switched on
    // again, from what was true then.
    if (!service.controller.enabled) {
      instance.controlled = {};
      instance.weighed = nullptr;
      instance.has_weighed = false;
    }
    if (!service.outlier.enabled) instance.has_judged = false;
    // The health that applying left: that of before, or none for one that came back from cooling.
    const shm::State state = shm::unpack(segment.table.states[p.slot].load(kRelaxed));
    const std::uint64_t agent = segment.table.load_details[p.slot].agent.load(kRelaxed);
    const engine::Checked checked = engine::checked(state, agent);
    instance.health = checked.health;
    instance.reason = checked.reason;
    instance.admin = settings.services[p.service].instances[p.instance].admin;
    instance.agent = engine::unpack_agent(agent);
    instances_.emplace(p.slot, std::move(instance));
    if (is_known) known.erase(found);
    if (p.is_new) is_new.insert(p.slot);
  }
  for (const auto& [slot, gone] : known)
    forget(segment, gone);

  for (Service& service : services_) {
    const auto before = known_services.find(service.name);
    if (before != known_services.end()) {
      // Never later than an interval from now, which may have become a shorter one.
      const auto next = [&](std::uint64_t planned_ms, Milliseconds interval) {
        return std::min(planned_ms, now_ms + static_cast<std::uint64_t>(interval.count()));
      };
      service.next_judge_ms = next(before->second.next_judge_ms, service.outlier.interval);
      service.next_weigh_ms = next(before->second.next_weigh_ms, service.controller.update);
      if (service.controller.enabled) service.weighed_ms = before->second.weighed_ms;
      service.shares = before->second.shares;
    }
    // Among instances in use one that is new is a newcomer; where nobody is in use, everybody is.
    const bool any_in_use =
        std::any_of(service.slots.begin(), service.slots.end(),
                    [&](std::uint16_t slot) { return instances_.at(slot).in_use; });
    for (const std::uint16_t slot : service.slots) {
      Instance& instance = instances_.at(slot);
      if (is_new.contains(slot)) instance.fresh = any_in_use;
      instance.ejection.shorten(service.outlier, now_ms);
      settle(segment, instance, instance.fresh ? Arrival::fresh : Arrival::checker_start, now_ms);
    }
  }
  for (std::size_t s = 0; s < services_.size(); ++s) {
    take_back_excess(segment, services_[s], now_ms);
    divide(segment, s);
  }
}

// Those that the settings no longer allow to be out, the first to come back first.
void Steering::take_back_excess(const Segment& segment, const Service& service,
                                std::uint64_t now_ms) {
  std::vector<Instance*> ejected;
  std::size_t by_operators = 0;  // who know what they want
  for (const std::uint16_t slot : service.slots) {
    Instance& instance = instances_.at(slot);
    if (instance.ejection.by_operator()) {
      ++by_operators;
    } else if (instance.ejection.active()) {
      ejected.push_back(&instance);
    }
  }
  const std::size_t all =
      service.outlier.enabled
          ? engine::ejection_cap(service.max_ejected_percent, service.slots.size())
          : 0;
  const std::size_t cap = all > by_operators ? all - by_operators : 0;
  if (ejected.size() <= cap) return;
  std::sort(ejected.begin(), ejected.end(), [](const Instance* a, const Instance* b) {
    return std::pair(a->ejection.until_ms(), a->slot) < std::pair(b->ejection.until_ms(), b->slot);
  });
  ejected.resize(ejected.size() - cap);
  for (Instance* const instance : ejected)
    take_back(segment, *instance, TakenBack::settings, now_ms);
}

// What a dead checker, or this one before it grew, left in the table about an instance.
void Steering::adopt(const Segment& segment, Instance& instance, const Service& service,
                     std::uint64_t now_ms) const {
  const shm::State state = shm::unpack(segment.table.states[instance.slot].load(kRelaxed));
  const shm::LoadRecord& details = segment.table.load_details[instance.slot];
  instance.since_ever = true;
  const auto times = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(details.ejections.load(kRelaxed), UINT32_MAX));
  // An ejection that is over by now, or cannot be believed, ends at the next tick: the state word
  // says that it holds a place of the budget, which has to be given back.
  const std::uint64_t until_ns = details.ejected_until_ns.load(kRelaxed);
  const std::uint64_t until_ms = from_realtime_ns(until_ns, now_ms);
  instance.ejection =
      Ejection(service.outlier, times, until_ms, now_ms, (until_ns & kByOperatorBit) != 0);
  if (state.ejected && !instance.ejection.active()) {
    instance.ejection = Ejection(service.outlier, times, now_ms + 1, now_ms);
  }
  if (!state.ejected) instance.ejection.end(now_ms);
  instance.ramp = Ramp(from_realtime_ns(details.ramp_since_ns.load(kRelaxed), now_ms), now_ms);
  const std::uint64_t ppm = details.multiplier_ppm.load(kRelaxed);
  if (ppm > 0 && ppm <= 1'000'000) {
    instance.controlled.multiplier = static_cast<double>(ppm) / 1e6;
    instance.controlled.target = instance.controlled.multiplier;
  }
  instance.controlled.reason = engine::weight_reason_of(details.weight_reason.load(kRelaxed));
  instance.breaker_out =
      engine::is_out(segment.workers.breakers[instance.slot], instance.incarnation);
  instance.in_use = state.usable && !instance.breaker_out;
}

// An instance that the settings no longer name gives its place back, if it was ejected.
void Steering::forget(const Segment& segment, const Instance& instance) {
  if (!instance.ejection.active()) return;
  shm::Word64& budget = segment.workers.services[instance.record].open_breakers;
  const engine::BudgetTaken taken = engine::held_budget(budget);
  shm::State state = shm::unpack(segment.table.states[instance.slot].load(kRelaxed));
  if (state.incarnation == instance.incarnation && state.ejected) {
    state.ejected = false;
    shm::put(segment.table.states[instance.slot], shm::pack(state));
  }
  segment.table.load_details[instance.slot].ejected_until_ns.store(0, kRelaxed);
  engine::give_budget(budget, taken);
}

bool Steering::set_health(const Segment& segment, std::uint16_t slot, shm::Health health,
                          shm::Reason reason, std::uint64_t now_ms) {
  const auto found = instances_.find(slot);
  if (found == instances_.end()) return false;
  Instance& instance = found->second;
  const Arrival arrival = instance.health == shm::Health::down ? Arrival::recovered
                          : instance.fresh                     ? Arrival::fresh
                                                               : Arrival::checker_start;
  instance.health = health;
  instance.reason = reason;
  instance.fresh = false;
  const std::uint64_t was = segment.table.states[slot].load(kRelaxed);
  settle(segment, instance, arrival, now_ms);
  divide(segment, instance.service);
  return segment.table.states[slot].load(kRelaxed) != was;
}

bool Steering::set_agent(const Segment& segment, std::uint16_t slot,
                         const engine::AgentReport& report, std::uint64_t now_ms) {
  const auto found = instances_.find(slot);
  if (found == instances_.end()) return false;
  Instance& instance = found->second;
  const engine::AgentReport all = engine::merged(instance.agent, report);
  if (all == instance.agent) return false;
  instance.agent = all;
  settle(segment, instance, instance.fresh ? Arrival::fresh : Arrival::recovered, now_ms);
  divide(segment, instance.service);
  return true;
}

engine::AgentReport Steering::agent(std::uint16_t slot) const {
  const auto found = instances_.find(slot);
  return found == instances_.end() ? engine::AgentReport{} : found->second.agent;
}

Steering::Standing Steering::standing(const Instance& instance) {
  Standing standing{instance.health, instance.reason,
                    engine::strictest(instance.admin, instance.agent)};
  if (instance.agent.up == false && standing.health != shm::Health::down) {
    standing.health = shm::Health::down;
    standing.reason = shm::Reason::agent_down;
  }
  return standing;
}

void Steering::on_check(std::uint16_t slot, bool passed) {
  // Checks count only for who is ejected, and those are attended: most need no look at all.
  if (!attended_.contains(slot)) return;
  const auto found = instances_.find(slot);
  if (found == instances_.end()) return;
  if (services_[found->second.service].outlier.checks_take_back) {
    found->second.ejection.on_check(passed);
  }
}

// After anything that decides about the use of an instance has changed: starts or stops its ramp,
// and brings the table up to date with it. `arrival` says why, in case it is in use from now on.
void Steering::settle(const Segment& segment, Instance& instance, Arrival arrival,
                      std::uint64_t now_ms) {
  const Service& service = services_[instance.service];
  const Standing now = standing(instance);
  const bool usable = is_usable(now.health, now.admin, service.trusted) &&
                      !instance.ejection.active() && !instance.breaker_out;
  if (usable && !instance.in_use) {
    instance.since_ever = false;
    instance.in_use_since_ms = now_ms;
    if (starts_slowly(arrival)) arrivals_.push_back(instance.slot);
    if (starts_slowly(arrival) && service.slow_start.window.count() > 0) {
      instance.ramp.start(now_ms);
    }
  }
  if (!usable) instance.ramp.stop();
  instance.in_use = usable;
  if (instance.ejection.active() || instance.ramp.running()) attended_.insert(instance.slot);
  put_state(segment, instance, now_ms);
}

// The state word and what tools are told beside it; stores nothing that is there already.
void Steering::put_state(const Segment& segment, Instance& instance, std::uint64_t now_ms) {
  Service& service = services_[instance.service];
  double share = instance.ramp.share(service.slow_start, now_ms);
  if (service.controller.enabled) share *= instance.controlled.multiplier;
  share *= instance.agent.weight_percent.value_or(100) / 100.0;
  const Standing now = standing(instance);
  shm::State state;
  state.incarnation = instance.incarnation;
  state.weight = effective_weight(instance.weight, share);
  state.health = now.health;
  state.admin = now.admin;
  state.reason = now.reason;
  state.ejected = instance.ejection.active();
  state.limited = engine::agent_limit(instance.agent) != 0;
  derive_use(state, instance.weight, service.trusted);
  put_details(segment, instance, now_ms);
  shm::Word64& word = segment.table.states[instance.slot];
  if (const std::uint64_t packed = shm::pack(state); word.load(kRelaxed) != packed) {
    shm::put(word, packed);
    BALLAST_POINT("health.stored");
  }
  // Keep the sums by which traffic is divided.
  GroupMembers& members = service.members[instance.group];
  const bool ready = now.admin == shm::Admin::ready;
  const bool unchecked =
      ready && !instance.in_use && !service.trusted && now.health == shm::Health::unknown;
  const std::uint64_t weight = instance.in_use ? state.weight : 0;
  if (instance.counted) members.usable -= instance.counted_for;
  if (instance.counted_ready) members.ready -= instance.counted_for;
  if (instance.counted_unchecked) members.unchecked -= instance.counted_for;
  service.weight_sum += weight - instance.counted_weight;
  service.group_weights[instance.group] += weight - instance.counted_weight;
  instance.counted = instance.in_use;
  instance.counted_ready = ready;
  instance.counted_unchecked = unchecked;
  instance.counted_for = instance.weight;
  instance.counted_weight = weight;
  if (instance.counted) members.usable += instance.counted_for;
  if (ready) members.ready += instance.counted_for;
  if (unchecked) members.unchecked += instance.counted_for;
}

void Steering::put_details(const Segment& segment, const Instance& instance,
                           std::uint64_t now_ms) const {
  const auto put = [](shm::Word64& word, std::uint64_t value) {
    if (word.load(kRelaxed) != value) word.store(value, kRelaxed);
  };
  // Two looks at two clocks differ by a little each time: a time that stays is not written again.
  const auto put_time = [&](shm::Word64& word, std::uint64_t ms, std::uint64_t bit = 0) {
    const std::uint64_t word_was = word.load(kRelaxed);
    const std::uint64_t was = from_realtime_ns(word_was, now_ms);
    const std::uint64_t apart = was > ms ? was - ms : ms - was;
    if ((was == 0) == (ms == 0) && apart <= 1'000 && (word_was & kByOperatorBit) == bit) return;
    word.store((to_realtime_ns(ms, now_ms) & ~kByOperatorBit) | bit, kRelaxed);
  };
  shm::LoadRecord& details = segment.table.load_details[instance.slot];
  const Controlled& c = instance.controlled;
  put(details.multiplier_ppm, static_cast<std::uint64_t>(std::lround(c.multiplier * 1e6)));
  put(details.weight_reason, static_cast<std::uint64_t>(c.reason));
  put(details.utilisation_ppm, static_cast<std::uint64_t>(std::lround(c.utilisation * 1e6)));
  const std::uint64_t agent = engine::pack(instance.agent);
  put(details.agent,
      agent == 0 ? 0 : agent | engine::pack(engine::Checked{instance.health, instance.reason}));
  put(details.ejections, instance.ejection.times());
  put_time(details.ejected_until_ns, instance.ejection.until_ms(),
           instance.ejection.by_operator() ? kByOperatorBit : 0);
  put_time(details.ramp_since_ns, instance.ramp.started_ms());
}

void Steering::divide(const Segment& segment, std::size_t index) {
  Service& service = services_[index];
  if (service.slots.empty()) return;
  shm::ServiceRecord& record = segment.table.services[service.record];
  const GroupShares shares = divide_traffic(service.group_policy, service.members);
  const auto words = engine::pack(shares.ends());
  for (std::size_t w = 0; w < words.size(); ++w) {
    if (record.shares[w].load(kRelaxed) != words[w]) shm::put(record.shares[w], words[w]);
  }
  const std::uint64_t panic = engine::pack_panic(shares.mode, shares.panicking);
  if (record.panic.load(kRelaxed) != panic) shm::put(record.panic, panic);
  shm::Word64& sum = segment.table.service_loads[service.record].weight_sum;
  if (sum.load(kRelaxed) != service.weight_sum) sum.store(service.weight_sum, kRelaxed);
  const auto parts = engine::pack_parts(service.group_weights);
  for (std::size_t w = 0; w < parts.size(); ++w) {
    shm::Word64& word = segment.table.service_loads[service.record].group_parts[w];
    if (word.load(kRelaxed) != parts[w]) word.store(parts[w], kRelaxed);
  }
  if ((shares.panicking != 0) != (service.shares.panicking != 0)) {
    Notice notice;
    notice.kind = shares.panicking != 0 ? Notice::Kind::panic_began : Notice::Kind::panic_ended;
    notice.service = index;
    notice.mode = shares.mode;
    notices_.push_back(notice);
  }
  service.shares = shares;
}

}  // namespace ballast::checker
