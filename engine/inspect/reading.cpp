// Reading mapped words with distrust; see reading.hpp.
#include "engine/inspect/reading.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/failure_window.hpp"
#include "engine/generation_view.hpp"
#include "engine/group_word.hpp"
#include "engine/service_name.hpp"
#include "shm/endpoint.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/paths.hpp"
#include "shm/totals.hpp"

namespace ballast::inspect {
namespace {

using shm::MappedFile;

constexpr std::size_t kMaxWarnings = 20;  // a file full of nonsense needs no more to be believed

// The part of a service's picks that each group gets; engine/group_word.hpp says how it is stored.
std::array<double, shm::kMaxGroups> shares_of(const shm::ServiceRecord& record) {
  std::array<double, shm::kMaxGroups> shares{};
  std::uint32_t before = 0;
  for (std::size_t g = 0; g < shares.size(); ++g) {
    const auto word = shm::get(record.shares[g / 4]) >> 16 * (g % 4) & 0xffff;
    const auto end = static_cast<std::uint32_t>(word == 0xffff ? 0x10000 : word);
    if (end > before) shares[g] = (end - before) / 65536.0;
    before = std::max(before, end);
  }
  if (before == 0) shares[0] = 1;  // no division was ever stored
  return shares;
}

std::vector<GroupView> read_groups(const shm::Table& table, const shm::ServiceRecord& record,
                                   std::uint64_t root, Snapshot& snapshot, Members members) {
  std::vector<GroupView> groups;
  const auto shares = shares_of(record);
  const std::uint64_t panic = shm::get(record.panic);
  for (std::uint64_t g = 0; g < engine::read_group_count(record, root); ++g) {
    const shm::GenerationRecord& generation = record.generations[shm::buffer_of(root)][g];
    GroupView group;
    group.tier = shm::get(generation.tier);
    group.is_local = shm::get(generation.is_local) != 0;
    group.share = shares[g];
    group.panic = engine::panic_of(panic, g);
    engine::GenerationView view;
    if (engine::read_generation(table, record, root, view, g)) {
      group.member_count = view.member_count;
      for (std::uint64_t i = 0; members == Members::yes && i < view.member_count; ++i)
        group.slots.push_back(shm::get(view.members[i]));
    } else if (shm::unchanged(record.root, root)) {
      warn(snapshot, "group " + std::to_string(g) + " of service " + engine::service_name(record) +
                         " does not lie in the table");
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

void read_locator(const shm::Locator& locator, const std::string& path, Snapshot& snapshot) {
  // [mm:lease] pairs with the release store of the term, so that pid and time are that holder's.
  snapshot.term = locator.term.load(std::memory_order_acquire);
  snapshot.checker_pid = relaxed(locator.holder_pid);
  snapshot.checker_since_ns = relaxed(locator.holder_since_ns);
  // [mm:growth] pairs with the release store of set_active_segment().
  snapshot.segment = locator.active_segment.load(std::memory_order_acquire);
  const auto lock = shm::LockFile::open(path, /*writable=*/false);
  if (!lock) return;
  switch (lock->holder(0)) {
    case shm::LockFile::Holder::somebody:
      snapshot.checker = CheckerState::running;
      break;
    case shm::LockFile::Holder::nobody:
      snapshot.checker = snapshot.checker_pid == 0 ? CheckerState::left : CheckerState::died;
      break;
    case shm::LockFile::Holder::unknown:
      break;
  }
}

// Finds out who the checker is and which segment to read. An error only if there is nothing at all.
shm::Status find_segment(const std::string& directory, Snapshot& snapshot) {
  const std::string path = shm::locator_path(directory);
  const auto file = MappedFile::open(path, MappedFile::Access::read_only, /*populate=*/false);
  shm::Error why;
  if (!file) {
    why = file.error();
  } else if (const auto locator = shm::open_locator(*file, shm::BootCheck::skipped); !locator) {
    why = locator.error();
  } else {
    read_locator(**locator, path, snapshot);
    if (snapshot.segment != 0) return shm::Done{};
    why = {shm::ErrorKind::not_found, 0, "read", path,
           "no checker has published anything yet; start ballastd"};
  }
  const auto segments = shm::list_segments(directory);
  if (segments.empty()) return why;
  snapshot.segment = segments.back();
  warn(snapshot, why.to_text() + "; reading the newest segment instead");
  return shm::Done{};
}

// A segment may be replaced and removed between our reading its id and opening it.
shm::Result<MappedFile> open_active_table(const std::string& directory, Snapshot& snapshot) {
  constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    snapshot = {};
    snapshot.directory = directory;
    snapshot.read_ns = shm::realtime_ns();
    if (const auto found = find_segment(directory, snapshot); !found) return found.error();
    auto file = MappedFile::open(shm::table_path(directory, snapshot.segment),
                                 MappedFile::Access::read_only, /*populate=*/false);
    if (file || file.error().code != ENOENT || attempt == kAttempts) return file;
  }
}

}  // namespace

void warn(Snapshot& snapshot, std::string text) {
  if (snapshot.warnings.size() < kMaxWarnings) snapshot.warnings.push_back(std::move(text));
}

InstanceView read_instance(const shm::Table& table, std::uint64_t slot, shm::Phase phase) {
  const shm::InstanceRecord& record = table.instances[slot];
  InstanceView view;
  view.slot = slot;
  view.phase = phase;
  view.state = shm::unpack(shm::get(table.states[slot]));
  view.configured_weight = relaxed(record.weight);
  view.tier = relaxed(record.tier);
  const shm::LoadRecord& load = table.load_details[slot];
  view.weight_reason = engine::weight_reason_of(relaxed(load.weight_reason));
  const std::uint64_t ppm = relaxed(load.multiplier_ppm);
  view.multiplier = ppm == 0 ? 1 : static_cast<double>(ppm) / 1e6;
  view.agent = engine::unpack_agent(relaxed(load.agent));
  view.latency_us = relaxed(load.latency_us);
  view.qps = static_cast<double>(relaxed(load.qps_milli)) / 1e3;
  view.utilisation = static_cast<double>(relaxed(load.utilisation_ppm)) / 1e6;
  view.ejections = relaxed(load.ejections);
  view.ejected_until_ns = relaxed(load.ejected_until_ns);
  view.ramp_since_ns = relaxed(load.ramp_since_ns);
  view.admitted_ns = relaxed(record.admitted_ns);
  view.changed_ns = relaxed(record.changed_ns);
  view.checked_ns = relaxed(record.checked_ns);
  view.check_us = relaxed(record.check_us);
  view.checks = relaxed(record.checks);
  view.check_failures = relaxed(record.check_failures);
  view.flips = relaxed(record.flips);
  view.counters = shm::read_record(table.carried[slot]).values;
  return view;
}

std::string address_of(const shm::Table& table, std::uint64_t slot) {
  const shm::InstanceRecord& record = table.instances[slot];
  return shm::Endpoint::from_words({shm::get(record.endpoint[0]), shm::get(record.endpoint[1]),
                                    shm::get(record.endpoint[2])})
      .to_text();
}

BreakerView read_breaker(const shm::Workers& workers, const InstanceView& instance,
                         std::uint64_t now_ms) {
  BreakerView view;
  if (instance.slot >= workers.breakers.size() || instance.slot >= workers.instances.size())
    return view;
  const engine::Breaker b = engine::unpack_breaker(relaxed(workers.breakers[instance.slot]));
  if (b.tenant != engine::tenant_of(instance.state.incarnation)) return view;
  view.state = b.state;
  view.level = b.level;
  if (b.state == engine::BreakerState::closed) {
    view.failures = b.count;
  } else if (now_ms != 0 && b.until_ms > now_ms) {
    view.left_ms = b.until_ms - now_ms;
  }
  const engine::FailureWindow window =
      engine::unpack_window(relaxed(workers.instances[instance.slot].window));
  view.window_failures = std::uint64_t{window.cur_failures} + window.prev_failures;
  view.window_requests = std::uint64_t{window.cur_total} + window.prev_total;
  return view;
}

ServiceView read_service(const shm::Table& table, const shm::ServiceRecord& record,
                         Snapshot& snapshot, Members members) {
  ServiceView view;
  view.name = engine::service_name(record);
  const std::uint64_t root = shm::enter(record.root);
  const unsigned buffer = shm::buffer_of(root);
  const shm::GenerationRecord& generation = record.generations[buffer][0];
  view.epoch = shm::epoch_of(root);
  view.strategy = shm::get(record.policies[buffer].values[0]);
  view.policy = engine::get_policy(record.policies[buffer]);
  view.changed_ns = relaxed(record.changed_ns);
  const std::uint64_t kind = shm::get(generation.kind);
  view.lookup = kind <= 3 ? static_cast<shm::LookupKind>(kind) : shm::LookupKind::none;
  view.lookup_count = shm::get(generation.lookup_count);
  view.groups = read_groups(table, record, root, snapshot, members);
  for (const GroupView& group : view.groups)
    view.members += group.member_count;
  return view;
}

void read_header(const shm::Table& table, Snapshot& snapshot) {
  const shm::FileHeader& header = *table.header;
  snapshot.major = header.preamble.major;
  snapshot.minor = header.preamble.minor;
  snapshot.layout_hash = header.preamble.layout_hash;
  snapshot.created_ns = header.preamble.created_ns;
  const auto boot = shm::boot_id();
  snapshot.this_boot = std::memcmp(header.preamble.boot_id, boot.data(), boot.size()) == 0;
  snapshot.heartbeat = relaxed(header.heartbeat);
  snapshot.heartbeat_ns = relaxed(header.heartbeat_ns);
  snapshot.previous_segment = relaxed(header.previous_segment);
  snapshot.superseded_by = relaxed(header.superseded_by);
  snapshot.table_bytes = table.file.size();
  snapshot.arena_bytes = table.arena_bytes;
  snapshot.service_capacity = table.services.size();
  snapshot.instance_capacity = table.instances.size();
}

shm::Result<MappedSegment> map_active(const std::string& directory, Snapshot& head) {
  MappedSegment mapped;
  auto table_file = open_active_table(directory, head);
  if (!table_file) return table_file.error();
  const auto table = shm::Table::open(*table_file, shm::BootCheck::skipped);
  if (!table) return table.error();
  mapped.table = *table;
  mapped.table_file = std::move(*table_file);
  read_header(mapped.table, head);

  auto file = MappedFile::open(shm::workers_path(directory, head.segment),
                               MappedFile::Access::read_only, /*populate=*/false);
  if (!file) {
    warn(head, "rows and counts are not shown: " + file.error().to_text());
    return mapped;
  }
  const auto workers = shm::Workers::open(*file, shm::BootCheck::skipped);
  if (!workers) {
    warn(head, "rows and counts are not shown: " + workers.error().to_text());
    return mapped;
  }
  mapped.workers = *workers;
  mapped.workers_file = std::move(*file);
  head.workers_bytes = mapped.workers->file.size();
  head.row_capacity = mapped.workers->directory.size();
  return mapped;
}

}  // namespace ballast::inspect
