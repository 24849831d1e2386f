// Everything that a namespace's files say, read once into plain values. Reading needs no checker,
// takes no lock and writes nothing; it works on a live namespace, on what a dead checker left, and
// on copies from another machine. Nothing in the files is trusted: what does not fit together
// becomes a warning in the snapshot, never a crash. Whoever shows it renders it: the command-line
// tool, the demo, the metrics.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/agent_word.hpp"
#include "engine/breaker_word.hpp"
#include "engine/policy.hpp"
#include "engine/weight_reason.hpp"
#include "shm/layout.hpp"
#include "shm/result.hpp"
#include "shm/rows.hpp"
#include "shm/state_word.hpp"
#include "shm/totals.hpp"
#include "shm/views.hpp"

namespace ballast::inspect {

// Counters by shm::CounterIndex.
using Counters = std::array<std::uint64_t, shm::kCounterCount>;

[[nodiscard]] std::int64_t in_flight_of(const Counters& counters) noexcept;
// Requests whose outcome was anything but success, cancelled or abandoned.
[[nodiscard]] std::uint64_t failures_of(const Counters& counters) noexcept;

// What went on between two readings; see rates.hpp.
struct Rate {
  double started = 0;  // requests a second
  double failed = 0;   // failures a second
  std::uint64_t latency_sum_us = 0;
  std::uint64_t latency_count = 0;
};

struct InstanceView;
// In configured units, so 2.5 of a weight of 5 is half of it.
[[nodiscard]] double effective_weight(const InstanceView& instance) noexcept;

struct BreakerView {
  engine::BreakerState state = engine::BreakerState::closed;
  std::uint64_t failures = 0;  // in a row, while closed
  std::uint64_t level = 0;     // how many times in a row it has opened
  std::uint64_t left_ms = 0;   // until it may be tried, or its permit expires; 0: now, or not known
  // As the window says: recent failures, and the requests among which they were.
  std::uint64_t window_failures = 0;
  std::uint64_t window_requests = 0;
};

struct InstanceView {
  std::uint64_t slot = 0;
  shm::Phase phase = shm::Phase::live;  // live or cooling
  std::string address;
  shm::State state;
  std::uint64_t configured_weight = 0;
  std::uint64_t tier = 0;
  // What the effective weight comes from; see engine/weight_reason.hpp.
  engine::WeightReason weight_reason = engine::WeightReason::configured;
  double multiplier = 1;
  engine::AgentReport agent;  // what its agent asked for
  std::uint64_t latency_us = 0;
  double qps = 0;
  double utilisation = 0;
  std::uint64_t ejections = 0;
  BreakerView breaker;       // closed when the workers file cannot be read
  Counters counters{};       // of all workers; zeroes when the workers file cannot be read
  std::optional<Rate> rate;  // only of two readings
  // CLOCK_REALTIME in nanoseconds; 0: never.
  std::uint64_t ejected_until_ns = 0;
  std::uint64_t ramp_since_ns = 0;
  std::uint64_t admitted_ns = 0;
  std::uint64_t changed_ns = 0;
  std::uint64_t checked_ns = 0;
  std::uint64_t check_us = 0;
  std::uint64_t checks = 0;
  std::uint64_t check_failures = 0;
  std::uint64_t flips = 0;
};

// Instances that are tried together: those of a tier in the host's own zone, or those elsewhere.
struct GroupView {
  std::uint64_t tier = 0;
  bool is_local = true;
  double share = 0;  // of the service's picks, 0..1
  engine::PanicMode panic = engine::PanicMode::none;
  std::vector<std::uint64_t> slots;
  std::uint64_t member_count = 0;
};

struct ServiceView {
  std::size_t record = 0;  // its place in the table
  std::string name;
  std::uint64_t strategy = 0;  // as stored: it may be one that this build does not know
  engine::Policy policy;
  std::vector<GroupView> groups;
  std::uint64_t epoch = 0;
  std::uint64_t members = 0;       // of the published generation, all groups together
  std::uint64_t lookup_count = 0;  // of its first group
  shm::LookupKind lookup = shm::LookupKind::none;
  std::uint64_t changed_ns = 0;
  std::uint64_t out = 0;  // breakers open and instances ejected, by the shared count
  // How long requests took: since the service exists, or where there is a rate, in its time.
  shm::Latencies latencies;
  std::optional<Rate> rate;             // of the instances that are here, together
  std::vector<InstanceView> instances;  // by slot; the cooling ones too
};

struct RowView {
  std::uint64_t index = 0;
  shm::Owner owner = shm::Owner::none;
  std::uint64_t incarnation = 0;
  std::uint64_t pid = 0;
  std::uint64_t tid = 0;
  std::uint64_t start_ticks = 0;
  std::uint64_t claimed_ns = 0;
  std::uint64_t reaps = 0;
  std::string command;
  Counters counters{};  // over all slots
};

enum class CheckerState {
  running,  // somebody holds the lease
  left,     // nobody does, and the last holder left in order
  died,     // nobody does, and the last holder did not say good-bye
  unknown,  // there is no locator that could tell
};

struct Snapshot {
  std::string directory;
  std::uint64_t read_ns = 0;  // CLOCK_REALTIME of this reading
  std::uint64_t over_ns = 0;  // since the reading that rates count from; 0: there are none
  bool this_boot = false;     // the files were made since this machine started

  CheckerState checker = CheckerState::unknown;
  std::uint64_t checker_pid = 0;
  std::uint64_t checker_since_ns = 0;
  std::uint64_t term = 0;
  std::uint64_t heartbeat = 0;
  std::uint64_t heartbeat_ns = 0;

  std::uint64_t segment = 0;
  std::uint64_t previous_segment = 0;  // still drained; 0: none
  std::uint64_t superseded_by = 0;     // 0: this is the active one
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  std::uint64_t layout_hash = 0;
  std::uint64_t created_ns = 0;
  std::uint64_t table_bytes = 0;
  std::uint64_t workers_bytes = 0;
  std::uint64_t arena_bytes = 0;
  std::uint64_t service_capacity = 0;
  std::uint64_t instance_capacity = 0;
  std::uint64_t row_capacity = 0;

  std::vector<ServiceView> services;  // live ones, by record
  std::vector<RowView> rows;          // those that were ever claimed
  std::vector<std::string> warnings;  // what could not be read, or does not fit together
};

// Reads the active segment of `directory`; without a locator, the newest segment there.
[[nodiscard]] shm::Result<Snapshot> read_snapshot(const std::string& directory);

// The two parts of it that see only mapped bytes; fuzzed.
void read_table(const shm::Table& table, Snapshot& snapshot);
// Adds counts and rows. `lock` may be null: then nobody knows who lives.
void read_workers(const shm::Table& table, const shm::Workers& workers, const shm::LockFile* lock,
                  Snapshot& snapshot);

}  // namespace ballast::inspect
