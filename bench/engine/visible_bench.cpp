// How long a change of health takes from the checker's store to another process's load. The two
// processes are pinned to processors of their own; the reader spins on the state word in its
// read-only mapping. Both stamp the time with the processor's counter, which all cores share; so
// that a small difference between the cores' counters cannot flatter, it is measured in both
// directions and the worse counts.
#include <atomic>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/processes.hpp"
#include "shm/generation.hpp"
#include "shm/segment.hpp"

namespace ballast::bench {

namespace {

constexpr std::size_t kRounds = 15;
constexpr std::size_t kStores = 2000;  // in a round

struct Stamps {
  std::atomic<std::uint64_t> ready{0};  // the number of the store that the reader waits for
  std::uint64_t padding[15];
  std::uint64_t stored[kRounds * kStores];
  std::uint64_t seen[kRounds * kStores];
};

void write_states(shm::Word64& state, Stamps& stamps) {
  for (std::size_t i = 0; i < kRounds * kStores; ++i) {
    while (stamps.ready.load(std::memory_order_acquire) != i + 1)  // pairs with the reader's store
      relax();
    // Lets the reader go round a few times, so that it is found spinning.
    for (const std::uint64_t from = ticks(); ticks() < from + 2000;) {
    }
    const std::uint64_t word =
        state.load(std::memory_order_relaxed) ^ (shm::kPlainBit | shm::kUsableBit);
    stamps.stored[i] = ticks();
    shm::put(state, word);
  }
}

void read_states(const shm::Word64& state, Stamps& stamps) {
  for (std::size_t i = 0; i < kRounds * kStores; ++i) {
    const std::uint64_t before = shm::get(state);
    stamps.ready.store(i + 1, std::memory_order_release);  // pairs with the writer's load
    while (shm::get(state) == before) {
    }
    stamps.seen[i] = ticks();
  }
}

// Median and p99 of each round, in nanoseconds.
struct Delays {
  std::vector<double> p50, p99;
};

Delays measure(unsigned writer, shm::Word64& written,
               const std::function<const shm::Word64&()>& map) {
  const SharedArray<Stamps> stamps(1);
  run_processes(2, [&](unsigned rank) {
    if (rank == writer) {
      write_states(written, stamps[0]);
    } else {
      read_states(map(), stamps[0]);
    }
  });
  Delays out;
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<double> delays;
    for (std::size_t i = round * kStores; i < (round + 1) * kStores; ++i) {
      const auto delay = static_cast<std::int64_t>(stamps[0].seen[i] - stamps[0].stored[i]);
      delays.push_back(static_cast<double>(delay) * ns_per_tick());
    }
    out.p50.push_back(quantile(delays, 0.5));
    out.p99.push_back(quantile(delays, 0.99));
  }
  return out;
}

Delays measure_state(unsigned writer) {
  Namespace made(100, engine::Strategy::maglev);
  const std::size_t slot = made.publisher().instances()[50].slot;
  std::optional<shm::WorkerSegment> mapped;
  return measure(
      writer, made.publisher().segment().table.states[slot], [&]() -> const shm::Word64& {
        auto segment = shm::WorkerSegment::open(made.directory(), made.publisher().segment_id());
        if (!segment) throw std::runtime_error(segment.error().to_text());
        return mapped.emplace(std::move(*segment)).table.states[slot];
      });
}

Delays measure_bare_word(unsigned writer) {
  const SharedArray<shm::Word64> word(1);
  return measure(writer, word[0], [&]() -> const shm::Word64& { return word[0]; });
}

}  // namespace

void add_visible_cases(Suite& suite) {
  suite.add("visible.p99_ns", [](Rows& rows) {
    for (const unsigned writer : {0U, 1U}) {
      const std::string where = "/from_processor_" + std::to_string(writer);
      const Delays state = measure_state(writer);
      rows.add({"visible.p99_ns" + where, spread_of(state.p99), "ns", Better::lower, {}});
      rows.add({"visible.p50_ns" + where, spread_of(state.p50), "ns", Better::lower, {}});
      const Delays bare = measure_bare_word(writer);
      rows.add({"visible.bare_word_p99_ns" + where, spread_of(bare.p99), "ns", Better::lower, {}});
      rows.add({"visible.bare_word_p50_ns" + where, spread_of(bare.p50), "ns", Better::lower, {}});
    }
    rows.add_worst("visible.p99_ns", Better::lower, {"<= 200 ns", 200});
  });
}

}  // namespace ballast::bench
