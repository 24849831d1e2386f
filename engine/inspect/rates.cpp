// Differences of counters that only grow; see rates.hpp.
#include "engine/inspect/rates.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "engine/latency_buckets.hpp"

namespace ballast::inspect {
namespace {

// None where a counter went backwards: another segment was made from nothing, or this is damaged.
std::optional<Rate> rate_of(const Counters& before, const Counters& now, double seconds) {
  constexpr std::uint64_t kMost = UINT64_MAX / 2;
  const auto grown = [&](unsigned index) { return now[index] - before[index]; };
  for (unsigned i = 0; i < shm::kCounterCount; ++i) {
    if (grown(i) > kMost) return std::nullopt;
  }
  const double failed = static_cast<double>(failures_of(now) - failures_of(before));
  return Rate{static_cast<double>(grown(shm::kStarted)) / seconds, failed / seconds,
              grown(shm::kLatencySumUs), grown(shm::kLatencyCount)};
}

bool only_grew(const shm::Latencies& before, const shm::Latencies& now) {
  for (std::size_t i = 0; i < now.buckets.size(); ++i) {
    if (now.buckets[i] < before.buckets[i]) return false;
  }
  return true;
}

void add_rates(const ServiceView& before, ServiceView& now, double seconds) {
  std::map<std::pair<std::string, std::uint32_t>, const InstanceView*> known;
  for (const InstanceView& instance : before.instances)
    known[{instance.address, instance.state.incarnation}] = &instance;
  Rate sum;
  for (InstanceView& instance : now.instances) {
    const auto found = known.find({instance.address, instance.state.incarnation});
    if (found == known.end()) continue;
    instance.rate = rate_of(found->second->counters, instance.counters, seconds);
    if (!instance.rate) continue;
    sum.started += instance.rate->started;
    sum.failed += instance.rate->failed;
    sum.latency_sum_us += instance.rate->latency_sum_us;
    sum.latency_count += instance.rate->latency_count;
  }
  if (!only_grew(before.latencies, now.latencies)) return;
  now.rate = sum;
  now.latencies -= before.latencies;
}

}  // namespace

void add_rates(const Snapshot& before, Snapshot& now) {
  if (now.read_ns <= before.read_ns) return;  // the clock was set back
  now.over_ns = now.read_ns - before.read_ns;
  const double seconds = static_cast<double>(now.over_ns) / 1e9;
  std::map<std::string, const ServiceView*> known;
  for (const ServiceView& service : before.services)
    known[service.name] = &service;
  for (ServiceView& service : now.services) {
    const auto found = known.find(service.name);
    if (found != known.end()) add_rates(*found->second, service, seconds);
  }
}

std::uint64_t count_of(const shm::Latencies& latencies) noexcept {
  std::uint64_t count = 0;
  for (const std::uint64_t bucket : latencies.buckets)
    count += bucket;
  return count;
}

std::optional<std::uint64_t> quantile_us(const shm::Latencies& latencies, double share) noexcept {
  const std::uint64_t count = count_of(latencies);
  if (count == 0) return std::nullopt;
  const double wanted = std::max(1.0, std::ceil(share * static_cast<double>(count)));
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < engine::kLatencyBoundsUs.size(); ++i) {
    below += latencies.buckets[i];
    if (static_cast<double>(below) >= wanted) return engine::kLatencyBoundsUs[i];
  }
  return kBeyondUs;
}

}  // namespace ballast::inspect
