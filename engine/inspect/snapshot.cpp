// Putting the pieces of a reading together; see snapshot.hpp.
#include "engine/inspect/snapshot.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/coarse_clock.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/inspect/reading.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/paths.hpp"
#include "shm/totals.hpp"

namespace ballast::inspect {
namespace {

void add(Counters& sum, const shm::Totals& totals) {
  for (std::size_t i = 0; i < sum.size(); ++i)
    sum[i] += totals.values[i];
}

// The segment before the last growth, while workers still have requests in flight there.
struct Replaced {
  shm::MappedFile table_file;
  shm::MappedFile workers_file;
  shm::Table table;
  shm::Workers workers;
};

// None if there is none, or none any more: what it counted is then part of what the active table
// carries, which must be read after this.
std::optional<Replaced> map_replaced(const std::string& directory, const shm::Table& active) {
  const std::uint64_t id = relaxed(active.header->previous_segment);
  if (id == 0) return std::nullopt;
  using shm::MappedFile;
  constexpr auto kRead = MappedFile::Access::read_only;
  auto table_file = MappedFile::open(shm::table_path(directory, id), kRead, /*populate=*/false);
  auto workers_file = MappedFile::open(shm::workers_path(directory, id), kRead, /*populate=*/false);
  if (!table_file || !workers_file) return std::nullopt;
  const auto table = shm::Table::open(*table_file, shm::BootCheck::skipped);
  const auto workers = shm::Workers::open(*workers_file, shm::BootCheck::skipped);
  if (!table || !workers) return std::nullopt;
  return Replaced{std::move(*table_file), std::move(*workers_file), *table, *workers};
}

// What is carried over is as old as the checker's last look at the replaced segment, up to a
// second: a request that has ended there since then would be shown as in flight. So its own rows
// are read instead, for every slot that still has the tenant that it had there.
void count_replaced(const Replaced& replaced, const shm::Table& active, Snapshot& snapshot) {
  for (ServiceView& service : snapshot.services) {
    for (InstanceView& instance : service.instances) {
      const std::uint64_t slot = instance.slot;
      if (slot >= replaced.table.instances.size() || slot >= active.instances.size()) continue;
      const auto was = shm::unpack_identity(shm::get(replaced.table.instances[slot].identity));
      const auto now = shm::unpack_identity(shm::get(active.instances[slot].identity));
      if (was.phase == shm::Phase::free || was.incarnation != now.incarnation) continue;
      shm::Totals totals = shm::read_record(replaced.table.carried[slot]);
      totals += shm::sum_rows(replaced.workers, slot);
      instance.counters = totals.values;
    }
  }
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
  const auto replaced = map_replaced(directory, mapped->table);
  read_table(mapped->table, snapshot);
  if (replaced) count_replaced(*replaced, mapped->table, snapshot);
  if (!mapped->workers) return snapshot;
  const auto lock = shm::LockFile::open(mapped->workers_file.path(), /*writable=*/false);
  const bool locks_mean_something = lock && snapshot.this_boot;
  read_workers(mapped->table, *mapped->workers, locks_mean_something ? &*lock : nullptr, snapshot);
  return snapshot;
}

}  // namespace ballast::inspect
