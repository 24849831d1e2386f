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

}  // namespace ballast::shm
