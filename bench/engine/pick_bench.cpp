// Suite `pick`: what a pick costs beside a private table without any protection, beside a lock, and
// while states change. See docs/benchmarks.md for the figures and the goals; run it with
// `tools/dev bench pick`.
#include <pthread.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "bench/engine/cases.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"
#include "bench/support/processes.hpp"
#include "engine/maglev.hpp"

namespace ballast::bench {

namespace {

// Whole passes over the keys, about 100 us.
constexpr std::uint64_t kPicks = 4 * kKeyCount;
constexpr std::uint64_t kLockedPicks = kKeyCount / 4;
constexpr std::uint64_t kFlipIntervalNs = 10'000;  // 100,000 flips a second

std::string cell(std::size_t instances, unsigned processes) {
  return "/n" + std::to_string(instances) + "/" + std::to_string(processes) + "p";
}

struct Pair {
  Worker worker;
  PrivateTable floor;

  Pair(Namespace& made, KeyOrder order, unsigned rank)
      : worker(made.directory(), made.publisher().segment_id(), order, rank), floor(worker.view()) {
    // Only those are comparable that say the same; while states flip, an instance may be out.
    std::size_t differ = 0;
    for (const Key& key : worker.keys)
      differ += worker.pick(key) != floor.table.pick(key.bytes, key.size) ? 1 : 0;
    if (differ > kKeyCount / 20) throw std::runtime_error("the private table picks differently");
  }

  void pick_floor(std::uint64_t operations) noexcept {
    over_keys(worker.keys, operations,
              [this](const Key& key) { return floor.table.pick(key.bytes, key.size); });
  }
  void pick_safe(std::uint64_t operations) noexcept {
    over_keys(worker.keys, operations, [this](const Key& key) { return worker.pick(key); });
  }
};

PairedResult safe_over_floor(Namespace& made, PairedPlan plan, KeyOrder order) {
  plan.base_operations = plan.subject_operations = kPicks;
  return run_paired(plan, [&](unsigned rank) {
    const auto pair = std::make_shared<Pair>(made, order, rank);
    return Contenders{[pair](std::uint64_t n) { pair->pick_floor(n); },
                      [pair](std::uint64_t n) { pair->pick_safe(n); }};
  });
}

void bench_safe(Rows& rows, std::size_t instances, unsigned processes) {
  Namespace made(instances, engine::Strategy::maglev);
  PairedPlan plan;
  plan.processes = processes;
  const PairedResult r = safe_over_floor(made, plan, KeyOrder::runs);
  const std::string where = cell(instances, processes);
  rows.add({"pick.safe_over_floor" + where, r.ratio, "x", Better::lower, {}});
  rows.add({"pick.floor_ns" + where, r.base_ns, "ns", Better::lower, {}});
  rows.add({"pick.safe_ns" + where, r.subject_ns, "ns", Better::lower, {}});
}

void bench_mixed_lengths(Rows& rows) {
  Namespace made(1000, engine::Strategy::maglev);
  const PairedResult r = safe_over_floor(made, {}, KeyOrder::mixed);
  rows.add({"pick.mixed_lengths_safe_over_floor/n1000/1p", r.ratio, "x", Better::lower, {}});
  rows.add({"pick.mixed_lengths_floor_ns/n1000/1p", r.base_ns, "ns", Better::lower, {}});
}

// The harness against itself: a private table over another copy of it must give 1.
void bench_control(Rows& rows) {
  Namespace made(1000, engine::Strategy::maglev);
  PairedPlan plan;
  plan.base_operations = plan.subject_operations = kPicks;
  const PairedResult r = run_paired(plan, [&](unsigned rank) {
    const auto one = std::make_shared<Pair>(made, KeyOrder::runs, rank);
    const auto other = std::make_shared<Pair>(made, KeyOrder::runs, rank);
    return Contenders{[one](std::uint64_t n) { one->pick_floor(n); },
                      [other](std::uint64_t n) { other->pick_floor(n); }};
  });
  rows.add({"pick.control_floor_over_floor/n1000/1p", r.ratio, "x", Better::lower, {}});
}

// Takes an instance out and puts it back, another one each time, 100,000 stores a second; so for
// half of the time one instance is unusable, and its keys move.
struct Flips {
  std::uint64_t count = 0;
  std::uint64_t ns = 0;
};

void flip(checker::Publisher& publisher, const std::atomic<bool>& stop, Flips& flips) {
  const auto& table = publisher.segment().table;
  const auto& instances = publisher.instances();
  const std::uint64_t from = monotonic_ns();
  std::uint64_t next = from;
  std::uint64_t i = 0;
  for (; !stop.load(std::memory_order_relaxed); ++i) {
    shm::Word64& word = table.states[instances[i / 2 % instances.size()].slot];
    // The one writer changes the usable bit; readers pair with it as with the checker's store.
    shm::put(word, word.load(std::memory_order_relaxed) ^ (shm::kPlainBit | shm::kUsableBit));
    for (next += kFlipIntervalNs; monotonic_ns() < next;)
      relax();
  }
  flips = {i, monotonic_ns() - from};
}

void bench_flips(Rows& rows, std::size_t instances) {
  Namespace made(instances, engine::Strategy::maglev);
  PairedPlan plan;
  const SharedArray<Flips> flips(1);
  plan.beside = [&](const std::atomic<bool>& stop) { flip(made.publisher(), stop, flips[0]); };
  const PairedResult r = safe_over_floor(made, plan, KeyOrder::runs);
  rows.add({"pick.flips_over_floor" + cell(instances, 1), r.ratio, "x", Better::lower, {}});
  const double rate = static_cast<double>(flips[0].count) * 1e9 / static_cast<double>(flips[0].ns);
  rows.add({"pick.flips_per_s" + cell(instances, 1), spread_of({rate}), "/s", Better::higher, {}});
}

// The same table and states in shared memory, plain, with a reader-writer lock round each pick.
struct LockedTable {
  pthread_rwlock_t lock;
  alignas(64) std::uint16_t lookup[engine::kDefaultMaglevSize];
  alignas(64) std::uint64_t states[4096];
};

struct LockedPair {
  Worker worker;
  LockedTable* shared;
  PlainTable table;

  LockedPair(Namespace& made, LockedTable* memory, unsigned rank)
      : worker(made.directory(), made.publisher().segment_id(), KeyOrder::runs, rank),
        shared(memory),
        table{memory->lookup, worker.view().lookup_count, memory->states} {}

  void pick_safe(std::uint64_t operations) noexcept {
    over_keys(worker.keys, operations, [this](const Key& key) { return worker.pick(key); });
  }
  void pick_locked(std::uint64_t operations) noexcept {
    over_keys(worker.keys, operations, [this](const Key& key) {
      ::pthread_rwlock_rdlock(&shared->lock);
      const std::uint32_t slot = table.pick(key.bytes, key.size);
      ::pthread_rwlock_unlock(&shared->lock);
      return slot;
    });
  }
};

void bench_rwlock(Rows& rows, std::size_t instances) {
  Namespace made(instances, engine::Strategy::maglev);
  const SharedArray<LockedTable> memory(1);
  LockedTable& locked = memory[0];
  pthread_rwlockattr_t attributes;
  ::pthread_rwlockattr_init(&attributes);
  ::pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_rwlock_init(&locked.lock, &attributes);
  {
    const Worker worker(made.directory(), made.publisher().segment_id(), KeyOrder::runs, 0);
    const PrivateTable copy(worker.view());
    if (copy.lookup.size() > std::size(locked.lookup) ||
        copy.states.size() > std::size(locked.states)) {
      throw std::runtime_error("the table behind the lock is too small");
    }
    std::copy(copy.lookup.begin(), copy.lookup.end(), locked.lookup);
    std::copy(copy.states.begin(), copy.states.end(), locked.states);
  }
  PairedPlan plan;
  plan.processes = 2;
  plan.base_operations = kPicks;
  plan.subject_operations = kLockedPicks;
  const PairedResult r = run_paired(plan, [&](unsigned rank) {
    const auto pair = std::make_shared<LockedPair>(made, &locked, rank);
    return Contenders{[pair](std::uint64_t n) { pair->pick_safe(n); },
                      [pair](std::uint64_t n) { pair->pick_locked(n); }};
  });
  rows.add({"pick.rwlock_over_safe_2p" + cell(instances, 2), r.ratio, "x", Better::higher, {}});
  rows.add({"pick.rwlock_ns" + cell(instances, 2), r.subject_ns, "ns", Better::lower, {}});
}

}  // namespace

void add_pick_cases(Suite& suite) {
  suite.add("pick.safe_over_floor", [](Rows& rows) {
    for (const std::size_t instances : {100U, 1000U}) {
      for (const unsigned processes : {1U, 2U})
        bench_safe(rows, instances, processes);
    }
    rows.add_worst("pick.safe_over_floor", Better::lower, {"<= 1.20x, stretch 1.12x", 1.20});
    bench_mixed_lengths(rows);
    bench_control(rows);
  });
  suite.add("pick.rwlock_over_safe_2p", [](Rows& rows) {
    for (const std::size_t instances : {100U, 1000U})
      bench_rwlock(rows, instances);
    rows.add_worst("pick.rwlock_over_safe_2p", Better::higher, {">= 15x", 15});
  });
  suite.add("pick.flips_over_floor", [](Rows& rows) {
    for (const std::size_t instances : {100U, 1000U})
      bench_flips(rows, instances);
    rows.add_worst("pick.flips_over_floor", Better::lower, {"<= 1.35x", 1.35});
  });
}

}  // namespace ballast::bench
