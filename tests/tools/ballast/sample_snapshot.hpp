// A namespace as a snapshot made by hand: a service with an instance that is up, one that is down
// and one that has left, and two rows. What the tests of `ballast dump` and `workers` begin with.
#pragma once

#include <stdlib.h>
#include <time.h>

#include <cstdint>

#include "tools/ballast/render.hpp"

namespace ballast::tests {

inline constexpr std::uint64_t kSecond = 1'000'000'000;
inline constexpr std::uint64_t kNow = 1'700'000'000 * kSecond;

inline tools::Snapshot sample() {
  setenv("TZ", "UTC", 1);
  tzset();
  tools::Snapshot s;
  s.directory = "/dev/shm/ballast/default";
  s.read_ns = kNow;
  s.this_boot = true;
  s.checker = tools::CheckerState::running;
  s.checker_pid = 4711;
  s.checker_since_ns = kNow - 3600 * kSecond;
  s.term = 2;
  s.heartbeat = 36'000;
  s.heartbeat_ns = kNow - kSecond / 20;
  s.segment = 1;
  s.major = 1;
  s.created_ns = kNow - 7200 * kSecond;
  s.table_bytes = 1'474'560;
  s.workers_bytes = 2048;
  s.arena_bytes = 512;
  s.service_capacity = 16;
  s.instance_capacity = 64;
  s.row_capacity = 256;

  tools::ServiceView service;
  service.name = "checkout";
  service.strategy = 1;
  service.epoch = 3;
  service.members = 2;
  service.lookup = shm::LookupKind::table;
  service.lookup_count = 65537;
  service.changed_ns = kNow - 300 * kSecond;
  tools::InstanceView up;
  up.slot = 0;
  up.address = "127.0.0.1:8081";
  up.state = {1, 64, shm::Health::up, shm::Admin::ready, shm::Reason::passed, true};
  up.configured_weight = 1;
  up.counters[shm::kStarted] = 1200;
  up.counters[shm::kSuccess] = 1190;
  up.counters[shm::kTimeout] = 7;
  up.counters[shm::kLatencySumUs] = 2'975'000;
  up.counters[shm::kLatencyCount] = 1190;
  up.admitted_ns = kNow - 7200 * kSecond;
  up.changed_ns = kNow - 7200 * kSecond;
  up.checked_ns = kNow - kSecond;
  up.check_us = 312;
  up.checks = 3600;
  up.check_failures = 2;
  up.flips = 1;
  tools::InstanceView down = up;
  down.slot = 12;
  down.address = "[2001:db8::1]:8082";
  down.state = {1, 320, shm::Health::down, shm::Admin::ready, shm::Reason::connect_refused, false};
  down.configured_weight = 10;
  down.counters = {};
  down.changed_ns = kNow - 3 * 86'400 * kSecond;
  tools::InstanceView gone = down;
  gone.phase = shm::Phase::cooling;
  gone.state.usable = true;  // as it left
  gone.slot = 13;
  gone.checks = 0;
  gone.checked_ns = 0;
  service.instances = {up, down, gone};
  service.latencies.sum_us = 2'975'000;
  service.latencies.buckets[4] = 1000;  // up to 1.5 ms
  service.latencies.buckets[10] = 180;  // up to 25 ms
  service.latencies.buckets[27] = 10;   // more than any bound
  s.services.push_back(service);

  tools::RowView row;
  row.index = 0;
  row.owner = shm::Owner::alive;
  row.incarnation = 4;
  row.pid = 100;
  row.tid = 101;
  row.claimed_ns = kNow - 60 * kSecond;
  row.reaps = 1;
  row.command = "nginx";
  row.counters = up.counters;
  tools::RowView free_row;
  free_row.index = 1;
  free_row.incarnation = 1;
  s.rows = {row, free_row};
  return s;
}

}  // namespace ballast::tests
