// Putting the pieces of a reading together; see snapshot.hpp.
#include "engine/inspect/snapshot.hpp"

#include <algorithm>

#include "engine/coarse_clock.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/inspect/reading.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/totals.hpp"

namespace ballast::inspect {
namespace {

void add(Counters& sum, const shm::Totals& totals) {
  for (std::size_t i = 0; i < sum.size(); ++i)
    sum[i] += totals.values[i];
}

}  // namespace

std::int64_t in_flight_of(const Counters& counters) noexcept {
  std::uint64_t finished = 0;
  for (unsigned i = shm::kFirstOutcome; i <= shm::kLastOutcome; ++i)
    finished += counters[i];
  return static_cast<std::int64_t>(counters[shm::kStarted] - finished);
}

std::uint64_t failures_of(const Counters& counters) noexcept {
  return counters[shm::kConnectFailure] + counters[shm::kTimeout] + counters[shm::kReset] +
         counters[shm::kServerError] + counters[shm::kOverload];
}

double effective_weight(const InstanceView& instance) noexcept {
  return static_cast<double>(instance.state.weight) / shm::kWeightUnit;
}

void read_table(const shm::Table& table, Snapshot& snapshot) {
  read_header(table, snapshot);
  constexpr std::size_t kNone = SIZE_MAX;
  std::vector<std::size_t> place(table.services.size(), kNone);
  for (std::size_t i = 0; i < table.services.size(); ++i) {
    const shm::ServiceRecord& record = table.services[i];
    // [mm:publish-and-pick] pairs with put(): whoever sees the identity sees a whole record.
    if (shm::unpack_identity(shm::get(record.identity)).phase != shm::Phase::live) continue;
    place[i] = snapshot.services.size();
    snapshot.services.push_back(read_service(table, record, snapshot, Members::yes));
    snapshot.services.back().record = i;
    if (i < table.carried_services.size())
      snapshot.services.back().latencies = shm::read_latencies(table.carried_services[i]);
  }
  for (std::uint64_t slot = 0; slot < table.instances.size(); ++slot) {
    const shm::InstanceRecord& record = table.instances[slot];
    const auto identity = shm::unpack_identity(shm::get(record.identity));
    if (identity.phase == shm::Phase::free) continue;
    const std::uint64_t service = shm::get(record.service);
    if (service >= place.size() || place[service] == kNone) {
      // A cooling instance may outlive its service.
      if (identity.phase == shm::Phase::live) {
        warn(snapshot, "slot " + std::to_string(slot) + " belongs to service record " +
                           std::to_string(service) + ", which is not in use");
      }
      continue;
    }
    auto& instances = snapshot.services[place[service]].instances;
    instances.push_back(read_instance(table, slot, identity.phase));
    instances.back().address = address_of(table, slot);
  }
}

void read_workers(const shm::Table& table, const shm::Workers& workers, const shm::LockFile* lock,
                  Snapshot& snapshot) {
  snapshot.workers_bytes = workers.file.size();
  snapshot.row_capacity = workers.directory.size();
  std::vector<InstanceView*> by_slot(table.instances.size(), nullptr);
  const std::uint64_t now_ms = snapshot.this_boot ? engine::coarse_ms() : 0;
  for (ServiceView& service : snapshot.services) {
    if (service.record < workers.services.size()) {
      service.out =
          engine::unpack_budget(relaxed(workers.services[service.record].open_breakers)).count;
    }
    service.latencies += shm::sum_latencies(workers, service.record);
    for (InstanceView& instance : service.instances) {
      by_slot[instance.slot] = &instance;
      instance.breaker = read_breaker(workers, instance, now_ms);
    }
  }
  for (std::uint64_t i = 0; i < workers.directory.size(); ++i) {
    if (!workers.ever_claimed(i)) continue;
    const shm::RowRecord& record = workers.directory[i];
    RowView row;
    row.index = i;
    row.owner = shm::owner_of(workers, lock, i);
    row.incarnation = shm::unpack_identity(relaxed(record.claim)).incarnation;
    row.pid = relaxed(record.pid);
    row.tid = relaxed(record.tid);
    row.start_ticks = relaxed(record.start_ticks);
    row.claimed_ns = relaxed(record.claimed_ns);
    row.reaps = relaxed(record.reaps);
    row.command = shm::command_text(relaxed(record.command[0]), relaxed(record.command[1]));
    const auto counters = workers.row(i);
    const std::size_t slots = std::min(counters.size(), by_slot.size());
    for (std::size_t slot = 0; slot < slots; ++slot) {
      const shm::Totals totals = shm::read_record(counters[slot]);
      add(row.counters, totals);
      if (by_slot[slot] != nullptr) add(by_slot[slot]->counters, totals);
    }
    snapshot.rows.push_back(std::move(row));
  }
}

shm::Result<Snapshot> read_snapshot(const std::string& directory) {
  Snapshot snapshot;
  const auto mapped = map_active(directory, snapshot);
  if (!mapped) return mapped.error();
  read_table(mapped->table, snapshot);
  if (!mapped->workers) return snapshot;
  const auto lock = shm::LockFile::open(mapped->workers_file.path(), /*writable=*/false);
  const bool locks_mean_something = lock && snapshot.this_boot;
  read_workers(mapped->table, *mapped->workers, locks_mean_something ? &*lock : nullptr, snapshot);
  return snapshot;
}

}  // namespace ballast::inspect
