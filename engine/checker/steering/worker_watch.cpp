// Counts are compared with those of the last look.
#include "engine/checker/steering/worker_watch.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "shm/failure_counts.hpp"

namespace ballast::checker {

namespace {

// Relaxed: of the instances, read after the service's ([mm:failure-counts]).
constexpr auto kRelaxed = std::memory_order_relaxed;

std::uint64_t failures_of(const shm::CheckerSegment& segment, std::uint16_t slot) {
  if (slot >= segment.workers.instances.size()) return 0;
  return segment.workers.instances[slot].failures.load(kRelaxed);
}

}  // namespace

void WorkerWatch::follow(const shm::CheckerSegment& segment, const std::vector<Member>& members,
                         std::uint64_t now_ms) {
  std::unordered_map<InstanceId, Watched> known;
  const bool has_moved = segment_ != segment.id;
  for (Watched& one : watched_)
    known.emplace(one.member.id, one);
  segment_ = segment.id;
  watched_ = {};
  watched_.reserve(members.size());
  of_slot_.clear();
  std::map<std::uint64_t, Service> services;
  for (const Member& member : members) {
    Watched one;
    const auto before = known.find(member.id);
    if (before != known.end() && before->second.member.slot == member.slot &&
        before->second.member.incarnation == member.incarnation) {
      one = before->second;
      // After a growth the workers' counts begin anew. What was asked of the instance still is.
      if (has_moved) {
        one.failures = failures_of(segment, member.slot);
        one.looked = false;
      }
    } else {
      one.failures = failures_of(segment, member.slot);
      one.request_ms = now_ms;
    }
    one.member = member;
    const std::size_t index = watched_.size();
    watched_.push_back(one);
    if (of_slot_.size() <= member.slot) of_slot_.resize(member.slot + std::size_t{1}, -1);
    of_slot_[member.slot] = static_cast<std::int32_t>(index);
    if (member.failures_to_check == 0 || member.slot >= segment.table.instances.size()) continue;
    const std::uint64_t record = segment.table.instances[member.slot].service.load(kRelaxed);
    if (record >= segment.workers.services.size()) continue;
    Service& service = services[record];
    service.record = record;
    service.watched.push_back(index);
  }
  // Their `failures` of 0: the next look takes in what came since the last.
  services_.clear();
  for (auto& [record, service] : services)
    services_.push_back(std::move(service));
}

std::vector<InstanceId> WorkerWatch::failing(const shm::CheckerSegment& segment) {
  std::vector<InstanceId> ids;
  if (segment.id != segment_) return ids;
  for (Service& service : services_) {
    const std::uint64_t all = shm::read_failures(segment.workers.services[service.record].failures);
    if (all == std::exchange(service.failures, all)) continue;
    for (const std::size_t index : service.watched) {
      Watched& one = watched_[index];
      const std::uint64_t failures = failures_of(segment, one.member.slot);
      // Workers may have spoilt the word: less than before is as good as a new start.
      if (failures < one.failures) one.failures = failures;
      if (failures - one.failures < one.member.failures_to_check) continue;
      one.failures = failures;
      ids.push_back(one.member.id);
    }
  }
  return ids;
}

void WorkerWatch::checked(const shm::CheckerSegment& segment, std::uint16_t slot) noexcept {
  if (segment.id != segment_ || slot >= of_slot_.size() || of_slot_[slot] < 0) return;
  watched_[static_cast<std::size_t>(of_slot_[slot])].failures = failures_of(segment, slot);
}

std::vector<std::pair<InstanceId, Demand>> WorkerWatch::demands(const LoadBoard& loads,
                                                                std::uint64_t now_ms) {
  std::vector<std::pair<InstanceId, Demand>> changed;
  for (Watched& one : watched_) {
    if (!one.member.wants_demand) continue;
    const Demand demand = demand_of(one, loads, now_ms);
    if (demand != std::exchange(one.demand, demand)) changed.emplace_back(one.member.id, demand);
  }
  return changed;
}

Demand WorkerWatch::demand_of(Watched& one, const LoadBoard& loads, std::uint64_t now_ms) const {
  const Traffic traffic = loads.traffic(one.member.slot);
  const Traffic before = std::exchange(one.traffic, traffic);
  const bool first = !std::exchange(one.looked, true);
  if (first) return one.demand;
  if (traffic.failures != before.failures) one.failure_ms = std::max<std::uint64_t>(now_ms, 1);
  const bool moved = traffic.finished != before.finished || loads.in_flight(one.member.slot) > 0;
  if (moved) one.request_ms = now_ms;
  if (one.failure_ms != 0 && now_ms - one.failure_ms < kFailingMs) return Demand::failing;
  if (now_ms - one.request_ms >= kIdleMs) return Demand::none;
  if (traffic.successes != before.successes) return Demand::succeeding;
  // Nothing came to an end in this second: what was true in the one before still is, unless that
  // speaks of failures long past.
  return one.demand == Demand::failing || one.demand == Demand::none ? Demand::unknown : one.demand;
}

}  // namespace ballast::checker
