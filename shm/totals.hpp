// Sums over rows: what all workers together have counted for a slot. A live slot's totals are the
// carried record (what earlier segments counted, less what an earlier tenant of the slot did) plus
// every row. Read by the checker and by tools; costs one cache line pair a row, so never on a pick.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "shm/layout.hpp"
#include "shm/views.hpp"

namespace ballast::shm {

struct Totals {
  std::array<std::uint64_t, kCounterCount> values{};  // by CounterIndex, modulo 2^64

  [[nodiscard]] std::uint64_t finished() const noexcept {
    std::uint64_t sum = 0;
    for (unsigned i = kFirstOutcome; i <= kLastOutcome; ++i)
      sum += values[i];
    return sum;
  }
  [[nodiscard]] std::int64_t in_flight() const noexcept {
    return static_cast<std::int64_t>(values[kStarted] - finished());
  }
  Totals& operator+=(const Totals& other) noexcept {
    for (unsigned i = 0; i < kCounterCount; ++i)
      values[i] += other.values[i];
    return *this;
  }
  Totals& operator-=(const Totals& other) noexcept {
    for (unsigned i = 0; i < kCounterCount; ++i)
      values[i] -= other.values[i];
    return *this;
  }
};

// One record; outcomes are read before starts, so that a record in use never reads as negative.
[[nodiscard]] Totals read_record(const CounterRecord& record) noexcept;

// All rows of a workers file for one slot; rows never claimed are not touched.
template <bool Writable>
[[nodiscard]] Totals sum_rows(const BasicWorkers<Writable>& workers, std::uint64_t slot) noexcept {
  Totals totals;
  if (slot >= workers.instance_count) return totals;
  for (std::uint64_t i = 0; i < workers.directory.size(); ++i) {
    if (workers.ever_claimed(i)) totals += read_record(workers.row(i)[slot]);
  }
  return totals;
}

// For the one writer of a carried record.
void store_record(CounterRecord& record, const Totals& totals) noexcept;

// How long a service's requests took, as rows and the carried record of the service count it.
struct Latencies {
  std::array<std::uint64_t, kLatencyBuckets> buckets{};  // modulo 2^64
  std::uint64_t sum_us = 0;

  Latencies& operator+=(const Latencies& other) noexcept {
    for (std::size_t i = 0; i < buckets.size(); ++i)
      buckets[i] += other.buckets[i];
    sum_us += other.sum_us;
    return *this;
  }
  Latencies& operator-=(const Latencies& other) noexcept {
    for (std::size_t i = 0; i < buckets.size(); ++i)
      buckets[i] -= other.buckets[i];
    sum_us -= other.sum_us;
    return *this;
  }
};

[[nodiscard]] Latencies read_latencies(const RowServiceRecord& record) noexcept;
void store_latencies(RowServiceRecord& record, const Latencies& latencies) noexcept;

// All rows of a workers file for one service's record; rows never claimed are not touched.
template <bool Writable>
[[nodiscard]] Latencies sum_latencies(const BasicWorkers<Writable>& workers,
                                      std::uint64_t service) noexcept {
  Latencies latencies;
  if (service >= workers.services.size()) return latencies;
  for (std::uint64_t i = 0; i < workers.directory.size(); ++i) {
    if (workers.ever_claimed(i)) latencies += read_latencies(workers.row_services(i)[service]);
  }
  return latencies;
}

}  // namespace ballast::shm
