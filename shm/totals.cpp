// Reading and storing counter records.
#include "shm/totals.hpp"

namespace ballast::shm {

Totals read_record(const CounterRecord& record) noexcept {
  Totals totals;
  for (unsigned i = kFirstOutcome; i < kCounterCount; ++i) {
    // [mm:row-counts] pairs with count_outcome()
    totals.values[i] = record.values[i].load(std::memory_order_acquire);
  }
  totals.values[kStarted] = record.values[kStarted].load(std::memory_order_relaxed);
  return totals;
}

void store_record(CounterRecord& record, const Totals& totals) noexcept {
  record.values[kStarted].store(totals.values[kStarted], std::memory_order_relaxed);
  for (unsigned i = kFirstOutcome; i < kCounterCount; ++i) {
    record.values[i].store(totals.values[i], std::memory_order_release);  // [mm:row-counts]
  }
}

// Relaxed: sums for people and metrics, on which nothing hangs.
Latencies read_latencies(const RowServiceRecord& record) noexcept {
  Latencies latencies;
  for (std::size_t i = 0; i < kLatencyBuckets; ++i)
    latencies.buckets[i] = record.latency_buckets[i].load(std::memory_order_relaxed);
  latencies.sum_us = record.latency_sum_us.load(std::memory_order_relaxed);
  return latencies;
}

void store_latencies(RowServiceRecord& record, const Latencies& latencies) noexcept {
  for (std::size_t i = 0; i < kLatencyBuckets; ++i)
    record.latency_buckets[i].store(latencies.buckets[i], std::memory_order_relaxed);
  record.latency_sum_us.store(latencies.sum_us, std::memory_order_relaxed);
}

}  // namespace ballast::shm
