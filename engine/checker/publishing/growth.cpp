// Sizing, copying and draining segments.
#include "engine/checker/publishing/growth.hpp"

#include <algorithm>
#include <utility>

#include "engine/checker/publishing/groups.hpp"
#include "engine/generation_writer.hpp"
#include "engine/placement.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "shm/rows.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words

template <class Words>
void copy_words(const Words& from, Words& to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    shm::put(to[i], from[i].load(kRelaxed));
}

std::uint64_t used_services(const shm::CheckerSegment& segment) {
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < segment.table.services.size(); ++i) {
    if (segment.table.services[i].identity.load(kRelaxed) != 0) used = i + 1;
  }
  return used;
}

std::uint64_t used_instances(const shm::CheckerSegment& segment) {
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < segment.table.instances.size(); ++i) {
    if (segment.table.instances[i].identity.load(kRelaxed) != 0) used = i + 1;
  }
  return used;
}

// Slots whose tenant is still the one that the old table knew. One that was free when the old table
// froze has nothing to carry; one whose tenant changed since then has a baseline of its own.
template <class Visit>
void for_each_carried(const shm::CheckerSegment& old, const shm::CheckerSegment& active,
                      Visit&& visit) {
  const auto instances = std::min(old.table.instances.size(), active.table.instances.size());
  for (std::size_t i = 0; i < instances; ++i) {
    const auto was = shm::unpack_identity(old.table.instances[i].identity.load(kRelaxed));
    const auto now = shm::unpack_identity(active.table.instances[i].identity.load(kRelaxed));
    if (was.phase != shm::Phase::free && was.incarnation == now.incarnation) visit(i);
  }
}

// What workers share of a service and must find again; tokens apart (token_counter.hpp).
void replicate_shared(const shm::CheckerSegment& old, const shm::CheckerSegment& fresh,
                      std::size_t service) {
  const shm::SharedServiceRecord& from = old.workers.services[service];
  shm::SharedServiceRecord& to = fresh.workers.services[service];
  shm::put(to.next_ticket, from.next_ticket.load(kRelaxed));
  shm::put(to.open_breakers, from.open_breakers.load(kRelaxed));
  for (std::size_t key = 0; key < 2; ++key)
    copy_words(from.sticky_keys[key], to.sticky_keys[key], 4);
}

}  // namespace

shm::Geometry plan_geometry(const Settings& settings, const shm::CheckerSegment* old) {
  std::uint64_t instances = 0;
  std::uint64_t arena = 0;
  for (const ServiceSettings& service : settings.services) {
    instances += service.instances.size();
    for (const auto& [group, members] : count_groups(settings, service)) {
      arena += 2 * engine::estimate_buffer_bytes(service.policy.strategy, members.count,
                                                 members.weights);
    }
  }
  const std::uint64_t kept_services = old != nullptr ? used_services(*old) : 0;
  const std::uint64_t kept_instances = old != nullptr ? used_instances(*old) : 0;
  shm::Geometry g;
  g.services = std::clamp<std::uint64_t>(2 * (settings.services.size() + kept_services), 16,
                                         shm::kMaxServices);
  g.instances = std::clamp<std::uint64_t>(2 * instances + kept_instances, 64, shm::kMaxInstances);
  g.rows = std::clamp<std::uint64_t>(settings.max_workers, 1, shm::kMaxRows);
  g.events = std::clamp<std::uint64_t>(settings.max_events, 1, shm::kMaxEvents);
  // A region is a quarter larger than its buffers need; as much again is to spare.
  g.arena_bytes = arena + arena / 2 + (std::uint64_t{1} << 20);
  return g;
}

void replicate(const shm::CheckerSegment& old, const shm::CheckerSegment& fresh) {
  const auto services = std::min(old.table.services.size(), fresh.table.services.size());
  for (std::size_t i = 0; i < services; ++i) {
    const shm::ServiceRecord& from = old.table.services[i];
    shm::ServiceRecord& to = fresh.table.services[i];
    copy_words(from.name, to.name, shm::kServiceNameBytes / 8);
    shm::put(to.identity, from.identity.load(kRelaxed));
    // The epoch goes on; the generation itself is built again, which `settings_hash` 0 asks for.
    shm::put(to.root, shm::epoch_of(from.root.load(kRelaxed)));
    copy_words(from.shares, to.shares, 2);
    shm::put(to.panic, from.panic.load(kRelaxed));
    if (i < old.workers.services.size()) replicate_shared(old, fresh, i);
  }
  const auto instances = std::min(old.table.instances.size(), fresh.table.instances.size());
  for (std::size_t i = 0; i < instances; ++i) {
    const shm::InstanceRecord& from = old.table.instances[i];
    shm::InstanceRecord& to = fresh.table.instances[i];
    copy_words(from.endpoint, to.endpoint, 3);
    for (const auto word :
         {&shm::InstanceRecord::service, &shm::InstanceRecord::weight,
          &shm::InstanceRecord::admitted_ns, &shm::InstanceRecord::changed_ns,
          &shm::InstanceRecord::cooling_since_ns, &shm::InstanceRecord::checked_ns,
          &shm::InstanceRecord::check_us, &shm::InstanceRecord::checks,
          &shm::InstanceRecord::check_failures, &shm::InstanceRecord::flips,
          &shm::InstanceRecord::tier, &shm::InstanceRecord::zone, &shm::InstanceRecord::identity}) {
      shm::put(to.*word, (from.*word).load(kRelaxed));
    }
    shm::put(fresh.table.states[i], old.table.states[i].load(kRelaxed));
    shm::put(fresh.table.loads[i], old.table.loads[i].load(kRelaxed));
    for (const auto word : {&shm::LoadRecord::latency_us, &shm::LoadRecord::qps_milli,
                            &shm::LoadRecord::utilisation_ppm, &shm::LoadRecord::multiplier_ppm,
                            &shm::LoadRecord::weight_reason, &shm::LoadRecord::ejections,
                            &shm::LoadRecord::ejected_until_ns, &shm::LoadRecord::ramp_since_ns,
                            &shm::LoadRecord::agent}) {
      shm::put(fresh.table.load_details[i].*word, (old.table.load_details[i].*word).load(kRelaxed));
    }
    if (i < old.workers.instances.size()) {
      const shm::SharedInstanceRecord& shared = old.workers.instances[i];
      shm::put(fresh.workers.instances[i].reported_load, shared.reported_load.load(kRelaxed));
      shm::put(fresh.workers.instances[i].reports, shared.reports.load(kRelaxed));
    }
    if (i < old.workers.breakers.size())
      shm::put(fresh.workers.breakers[i], old.workers.breakers[i].load(kRelaxed));
  }
  if (!old.workers.directory.empty()) recompute_carried(old, fresh);
}

void supersede_segment(const shm::CheckerSegment& old, std::uint64_t by) {
  old.table.header->superseded_by.store(by, std::memory_order_release);  // [mm:growth]
  for (shm::ServiceRecord& service : old.table.services) {
    shm::supersede(service.root);
    BALLAST_POINT("growth.superseding");
  }
}

namespace {

// As for_each_carried(), of services.
void recompute_latencies(const shm::CheckerSegment& old, const shm::CheckerSegment& active) {
  const auto services = std::min(old.table.services.size(), active.table.services.size());
  for (std::size_t i = 0; i < services; ++i) {
    const auto was = shm::unpack_identity(old.table.services[i].identity.load(kRelaxed));
    const auto now = shm::unpack_identity(active.table.services[i].identity.load(kRelaxed));
    if (was.phase == shm::Phase::free || was.incarnation != now.incarnation) continue;
    shm::Latencies latencies = shm::read_latencies(old.table.carried_services[i]);
    latencies += shm::sum_latencies(old.workers, i);
    shm::store_latencies(active.table.carried_services[i], latencies);
  }
}

}  // namespace

void recompute_carried(const shm::CheckerSegment& old, const shm::CheckerSegment& active) {
  recompute_latencies(old, active);
  for_each_carried(old, active, [&](std::size_t slot) {
    shm::Totals totals = shm::read_record(old.table.carried[slot]);
    totals += shm::sum_rows(old.workers, slot);
    shm::store_record(active.table.carried[slot], totals);
  });
}

bool drain(const DrainingSegment& old, const shm::CheckerSegment& active, std::uint64_t first,
           std::uint64_t count, bool carry, shm::Reaped* reaped) {
  shm::Reaped dead = shm::reap_dead_rows(old.segment.workers, old.lock, first, count);
  if (reaped != nullptr) *reaped = std::move(dead);
  bool empty = true;
  for (const shm::RowRecord& row : old.segment.workers.directory) {
    // [mm:row-claim] pairs with the release store that frees a row: its counts are final then.
    const auto claim = shm::unpack_identity(row.claim.load(std::memory_order_acquire));
    if (claim.phase == shm::Phase::live) empty = false;
  }
  if (empty || carry) recompute_carried(old.segment, active);
  return empty;
}

void cut_off(const DrainingSegment& old, const shm::CheckerSegment& active) {
  static_cast<void>(drain(old, active, 0, shm::kMaxRows, /*carry=*/true));
  for_each_carried(old.segment, active, [&](std::size_t slot) {
    // From the totals that drain() has just stored, not from a second look at the rows: their
    // owners count on, and what they count between two looks would stay in flight for ever.
    shm::Totals totals = shm::read_record(active.table.carried[slot]);
    const std::int64_t held = totals.in_flight();
    if (held == 0) return;
    totals.values[shm::kAbandoned] += static_cast<std::uint64_t>(held);
    shm::store_record(active.table.carried[slot], totals);
  });
}

shm::Result<DrainingSegment> open_draining(const std::string& directory, std::uint64_t id) {
  auto segment = shm::CheckerSegment::open(directory, id);
  if (!segment) return segment.error();
  auto lock = shm::LockFile::open(segment->workers_file.path(), /*writable=*/true);
  if (!lock) return lock.error();
  return DrainingSegment{std::move(*segment), std::move(*lock)};
}

}  // namespace ballast::checker
