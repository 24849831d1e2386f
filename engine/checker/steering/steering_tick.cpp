// What steering does as time goes by: breakers that workers opened and closed, ejections and slow
// starts that run out, and what the totals say of each service.
#include <algorithm>
#include <memory>
#include <utility>

#include "engine/breaker.hpp"
#include "engine/checker/steering/steering.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/orca.hpp"
#include "shm/crash_point.hpp"

namespace ballast::checker {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words

// How much a counter has grown. One that went back (a row of an older segment that is gone by now)
// has not grown.
std::uint64_t grown(const shm::Totals& now, const shm::Totals& before, unsigned counter) {
  const std::uint64_t by = now.values[counter] - before.values[counter];
  return static_cast<std::int64_t>(by) < 0 ? 0 : by;
}

std::uint64_t grown_failures(const shm::Totals& now, const shm::Totals& before,
                             std::uint32_t outcomes) {
  std::uint64_t sum = 0;
  for (unsigned outcome = shm::kFirstOutcome; outcome <= shm::kLastOutcome; ++outcome) {
    if ((outcomes >> outcome & 1) != 0) sum += grown(now, before, outcome);
  }
  return sum;
}

std::uint64_t claimed_rows(const shm::CheckerSegment& segment) {
  std::uint64_t rows = 0;
  for (std::uint64_t i = 0; i < segment.workers.directory.size(); ++i)
    rows += segment.workers.ever_claimed(i) ? 1 : 0;
  return rows;
}

}  // namespace

void Steering::tick(const Segment& segment, std::uint64_t now_ms) {
  for (std::size_t s = 0; s < services_.size(); ++s)
    look_at_breakers(segment, s, now_ms);
  attend(segment, now_ms);
  look_at_totals(segment, now_ms);
}

// Workers open and close breakers by themselves; here it only matters for how traffic is divided,
// for slow start, and for who is compared with whom.
void Steering::look_at_breakers(const Segment& segment, std::size_t index, std::uint64_t now_ms) {
  Service& service = services_[index];
  if (service.slots.empty()) return;
  const auto& budget = segment.workers.services[service.record].open_breakers;
  const bool any = engine::any_out(budget.load(kRelaxed));
  if (!any && !service.any_breaker) return;
  service.any_breaker = false;
  bool changed = false;
  for (const std::uint16_t slot : service.slots) {
    Instance& instance = instances_.at(slot);
    const bool out = engine::is_out(segment.workers.breakers[slot], instance.incarnation);
    service.any_breaker = service.any_breaker || out;
    if (out == instance.breaker_out) continue;
    instance.breaker_out = out;
    settle(segment, instance, Arrival::breaker_closed, now_ms);
    changed = true;
  }
  if (changed) divide(segment, index);
}

// Ends what is over, and moves ramps on.
void Steering::attend(const Segment& segment, std::uint64_t now_ms) {
  std::set<std::size_t> changed;
  for (auto slot = attended_.begin(); slot != attended_.end();) {
    Instance& instance = instances_.at(*slot);
    const Service& service = services_[instance.service];
    if (instance.ejection.active()) {
      const Ejection::End end = instance.ejection.due(service.rise, now_ms);
      if (end != Ejection::End::not_yet) {
        take_back(segment, instance,
                  end == Ejection::End::by_checks ? TakenBack::checks_passed : TakenBack::time,
                  now_ms);
        changed.insert(instance.service);
      }
    } else if (instance.ramp.running()) {
      put_state(segment, instance, now_ms);
      changed.insert(instance.service);
    }
    const bool done = !instance.ejection.active() && !instance.ramp.running();
    slot = done ? attended_.erase(slot) : std::next(slot);
  }
  for (const std::size_t service : changed)
    divide(segment, service);
}

void Steering::take_back(const Segment& segment, Instance& instance, TakenBack because,
                         std::uint64_t now_ms) {
  shm::Word64& budget = segment.workers.services[instance.record].open_breakers;
  const engine::BudgetTaken taken = engine::held_budget(budget);
  instance.ejection.end(now_ms);
  instance.has_judged = false;  // what came in while it was ejected says nothing about it now
  settle(segment, instance, Arrival::unejected, now_ms);
  BALLAST_POINT("steering.taken_back");
  engine::give_budget(budget, taken);
  Notice notice;
  notice.kind = Notice::Kind::taken_back;
  notice.service = instance.service;
  notice.instance = instance.instance;
  notice.because = because;
  notices_.push_back(notice);
}

Steering::Ejected Steering::eject(const Segment& segment, std::uint16_t slot, std::uint64_t for_ms,
                                  std::uint64_t now_ms) {
  const auto found = instances_.find(slot);
  if (found == instances_.end()) return Ejected::unknown_slot;
  Instance& instance = found->second;
  const Service& service = services_[instance.service];
  if (for_ms == 0) {
    if (instance.ejection.active()) take_back(segment, instance, TakenBack::by_operator, now_ms);
    divide(segment, instance.service);
    return Ejected::done;
  }
  if (!instance.ejection.active()) {
    shm::Word64& budget = segment.workers.services[service.record].open_breakers;
    const std::uint32_t cap =
        engine::ejection_cap(service.max_ejected_percent, service.slots.size());
    if (!engine::take_budget(budget, cap)) return Ejected::budget_used_up;
    BALLAST_POINT("steering.budget_taken");
  }
  instance.ejection.begin_by_operator(now_ms, for_ms);
  settle(segment, instance, Arrival::adopted, now_ms);
  divide(segment, instance.service);
  Notice notice;
  notice.kind = Notice::Kind::ejected;
  notice.service = instance.service;
  notice.instance = instance.instance;
  notice.verdict.reason = OutlierReason::by_operator;
  notice.for_ms = instance.ejection.until_ms() - now_ms;
  notice.times = instance.ejection.times();
  notices_.push_back(notice);
  return Ejected::done;
}

// Adds up the rows of the services that are due, a bounded number of records at a time; a service
// is judged once all its instances have been added up.
void Steering::look_at_totals(const Segment& segment, std::uint64_t now_ms) {
  const auto is_due = [&](const Service& service) {
    if (service.slots.empty()) return false;
    return service.looked != 0 || (service.outlier.enabled && now_ms >= service.next_judge_ms) ||
           (service.controller.enabled && now_ms >= service.next_weigh_ms);
  };
  if (std::none_of(services_.begin(), services_.end(), is_due)) return;
  const std::uint64_t cost = 1 + claimed_rows(segment);
  std::uint64_t spent = 0;
  for (std::size_t n = 0; n < services_.size() && spent < kRecordsPerTick; ++n) {
    turn_ %= services_.size();
    Service& service = services_[turn_];
    if (is_due(service)) {
      while (service.looked < service.slots.size() && spent < kRecordsPerTick) {
        Instance& instance = instances_.at(service.slots[service.looked++]);
        shm::Totals totals = shm::read_record(segment.table.carried[instance.slot]);
        totals += shm::sum_rows(segment.workers, instance.slot);
        instance.count(totals);
        spent += cost;
      }
      if (service.looked < service.slots.size()) return;  // goes on in the next tick
      service.looked = 0;
      if (service.outlier.enabled && now_ms >= service.next_judge_ms) judge(segment, turn_, now_ms);
      if (service.controller.enabled && now_ms >= service.next_weigh_ms) {
        weigh(segment, turn_, now_ms);
      }
    }
    ++turn_;
  }
}

const Steering::Counted& Steering::Instance::counted_totals() const noexcept {
  static const Counted nothing;
  return counts == nullptr ? nothing : *counts;
}

const shm::Totals& Steering::Instance::weighed_totals() const noexcept {
  static const shm::Totals nothing;
  return weighed == nullptr ? nothing : *weighed;
}

void Steering::Instance::remember_weighed() {
  has_weighed = true;
  if (counts == nullptr) return;  // as with counts: most have no requests here
  if (weighed == nullptr) weighed = std::make_unique<shm::Totals>();
  *weighed = counts->now;
}

void Steering::Instance::count(const shm::Totals& totals) {
  if (counts == nullptr) {
    // Most of many instances have no requests here, and need no memory for them.
    if (totals.values == shm::Totals{}.values) return;
    counts = std::make_unique<Counted>();
  }
  counts->now = totals;
}

void Steering::judge(const Segment& segment, std::size_t index, std::uint64_t now_ms) {
  Service& service = services_[index];
  service.next_judge_ms = now_ms + static_cast<std::uint64_t>(service.outlier.interval.count());
  std::vector<OutlierSample> samples;
  for (const std::uint16_t slot : service.slots) {
    Instance& instance = instances_.at(slot);
    OutlierSample sample;
    if (instance.has_judged) {
      const auto& [now, judged] = instance.counted_totals();
      sample.successes = grown(now, judged, shm::kSuccess);
      sample.failures = grown_failures(now, judged, service.failure_outcomes);
      sample.latency_sum_us = grown(now, judged, shm::kLatencySumUs);
      sample.latency_count = grown(now, judged, shm::kLatencyCount);
      sample.candidate = instance.in_use;
    }
    if (instance.counts != nullptr) instance.counts->judged = instance.counts->now;
    instance.has_judged = true;
    if (instance.in_use) instance.ejection.forget(service.outlier, now_ms);
    samples.push_back(sample);
  }
  if (service.max_ejected_percent == 0) return;
  const std::uint32_t cap = engine::ejection_cap(service.max_ejected_percent, service.slots.size());
  shm::Word64& budget = segment.workers.services[service.record].open_breakers;
  const auto verdicts = find_outliers(service.outlier, samples, cap);
  for (const OutlierVerdict& verdict : verdicts) {
    // Taken before the instance is out, as workers do it for breakers: a crash in between leaves
    // the count too high until it is made anew, never an instance out beyond the cap.
    if (!engine::take_budget(budget, cap)) break;
    BALLAST_POINT("steering.budget_taken");
    Instance& instance = instances_.at(service.slots[verdict.instance]);
    const double jitter = static_cast<double>(random_() >> 11) * 0x1p-53;
    instance.ejection.begin(service.outlier, now_ms, jitter);
    settle(segment, instance, Arrival::adopted, now_ms);
    Notice notice;
    notice.kind = Notice::Kind::ejected;
    notice.service = index;
    notice.instance = instance.instance;
    notice.verdict = verdict;
    notice.for_ms = instance.ejection.until_ms() - now_ms;
    notice.times = instance.ejection.times();
    notices_.push_back(notice);
  }
  if (!verdicts.empty()) divide(segment, index);
}

void Steering::weigh(const Segment& segment, std::size_t index, std::uint64_t now_ms) {
  Service& service = services_[index];
  const std::uint64_t elapsed =
      service.weighed_ms == 0 || now_ms < service.weighed_ms ? 0 : now_ms - service.weighed_ms;
  service.weighed_ms = now_ms;
  service.next_weigh_ms = now_ms + static_cast<std::uint64_t>(service.controller.update.count());
  std::vector<ControlInput> inputs;
  std::vector<Controlled> controlled;
  inputs.reserve(service.slots.size());
  controlled.reserve(service.slots.size());
  for (const std::uint16_t slot : service.slots) {
    Instance& instance = instances_.at(slot);
    ControlInput input;
    input.weight = instance.weight;
    input.in_use = instance.in_use;
    input.in_use_for_ms = instance.since_ever ? UINT64_MAX : now_ms - instance.in_use_since_ms;
    const shm::Totals& now = instance.counted_totals().now;
    if (instance.has_weighed) {
      const shm::Totals& weighed = instance.weighed_totals();
      // A backend that asks to be left alone does not do its work either, whatever its breaker
      // says.
      const std::uint32_t failed = service.failure_outcomes | 1U << shm::kOverload;
      input.failed = grown_failures(now, weighed, failed);
      input.finished = input.failed + grown(now, weighed, shm::kSuccess);
      input.latency_sum_us = grown(now, weighed, shm::kLatencySumUs);
      input.latency_count = grown(now, weighed, shm::kLatencyCount);
    }
    instance.remember_weighed();
    const shm::SharedInstanceRecord& shared = segment.workers.instances[slot];
    // Relaxed: a report is one word, and when it came is known to an update's length only.
    const auto report = engine::unpack_reported_load(shared.reported_load.load(kRelaxed));
    const std::uint64_t reports = shared.reports.load(kRelaxed);
    if (reports != instance.reports) instance.reported_ms = now_ms;
    instance.reports = reports;
    if (instance.reported_ms != 0) {
      input.utilisation = report.utilisation / 1e5;
      input.reported_qps = report.qps_tenths / 10.0;
      input.reported_error_rate = report.error_ppm / 1e6;
      input.report_age_ms = now_ms - instance.reported_ms;
    }
    inputs.push_back(input);
    controlled.push_back(instance.controlled);
  }
  if (elapsed == 0) return;  // a first look: there is nothing to compare with
  update_weights(service.controller, Milliseconds(elapsed), inputs, controlled);
  for (std::size_t i = 0; i < controlled.size(); ++i) {
    Instance& instance = instances_.at(service.slots[i]);
    const Controlled before = std::exchange(instance.controlled, controlled[i]);
    // What the table shows of it. Writing ten thousand states for nothing holds up the checks.
    const bool same = before.multiplier == controlled[i].multiplier &&
                      before.reason == controlled[i].reason &&
                      before.utilisation == controlled[i].utilisation;
    if (!same) put_state(segment, instance, now_ms);
  }
  divide(segment, index);
}

}  // namespace ballast::checker
