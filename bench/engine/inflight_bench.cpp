// Suite `strategies`: two ways of knowing what is in flight at an instance. One: an atomic counter
// per instance that all processes share, alone on its pair of cache lines, moved by fetch_add and
// fetch_sub. The other, which Ballast has: each worker counts in its own row and names the slot in
// its journal, and a board adds up and publishes, here every 2 ms as in the checker, in a process
// of its own. Both pick the better of two random instances from the same table and report;
// docs/load.md has the figures.
#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"
#include "bench/support/processes.hpp"
#include "engine/ballast.h"
#include "engine/checker/loads/load_board.hpp"
#include "engine/load_score.hpp"
#include "engine/load_word.hpp"
#include "engine/random.hpp"
#include "shm/journal.hpp"
#include "shm/row_protocol.hpp"
#include "shm/rows.hpp"
#include "shm/segment.hpp"
#include "tests/support/fake_workers.hpp"

namespace ballast::bench {

namespace {

constexpr std::uint64_t kOperations = 2048;  // pick + report, about 100 us
constexpr std::uint64_t kLatencyUs = 250;
constexpr std::size_t kOpen =
    16;  // requests in flight of each process: the oldest is reported next
constexpr engine::LoadRule kRule{engine::Strategy::least_connections, false, 0};

struct alignas(2 * shm::kCacheLine) PaddedCount {
  std::atomic<std::uint32_t> in_flight{0};
};

// A worker on a real segment, with a row of its own.
class Picking {
 public:
  Picking(Namespace& made, const SharedArray<PaddedCount>& shared, unsigned rank)
      : segment_(open(made)),
        row_(claim(segment_)),
        shared_(shared.data()),
        own_(segment_.table.instances.size()),
        random_(rank + 1) {
    const shm::ServiceRecord& service = segment_.table.services[0];
    const std::uint64_t root = shm::enter(service.root);
    if (!engine::read_generation(segment_.table, service, root, view_)) {
      throw std::runtime_error("the published generation cannot be read");
    }
    open_.resize(kOpen, shm::kNoSlot);
  }

  // What it takes to know what is in flight, and no more, either way.
  void by_rows(std::uint64_t operations) noexcept { count_in_rows<false>(operations); }
  void by_atomics(std::uint64_t operations) noexcept {
    run(
        operations, [this](std::uint32_t slot) { return read_shared(slot); },
        [this](std::uint32_t slot) {
          shared_[slot].in_flight.fetch_add(1, std::memory_order_relaxed);
        },
        [this](std::uint32_t slot) {
          shared_[slot].in_flight.fetch_sub(1, std::memory_order_relaxed);
        });
  }
  // With all that a report counts, the latency too; the atomics with a row beside them, by which
  // they could be set right after a kill.
  void by_rows_whole(std::uint64_t operations) noexcept { count_in_rows<true>(operations); }
  void by_atomics_whole(std::uint64_t operations) noexcept {
    run(
        operations, [this](std::uint32_t slot) { return read_shared(slot); },
        [this](std::uint32_t slot) {
          shm::count_started(row_.counters()[slot].values[shm::kStarted]);
          shared_[slot].in_flight.fetch_add(1, std::memory_order_relaxed);
        },
        [this](std::uint32_t slot) {
          count_latency(slot);
          shm::count_outcome(row_.counters()[slot].values[shm::kSuccess]);
          shared_[slot].in_flight.fetch_sub(1, std::memory_order_relaxed);
        });
  }

 private:
  static shm::WorkerSegment open(Namespace& made) {
    auto segment = shm::WorkerSegment::open(made.directory(), made.publisher().segment_id());
    if (!segment) throw std::runtime_error(segment.error().to_text());
    return std::move(*segment);
  }
  static shm::Row claim(const shm::WorkerSegment& segment) {
    auto row = shm::Row::claim(segment.workers, segment.workers_file.path());
    if (!row) throw std::runtime_error(row.error().to_text());
    return std::move(*row);
  }

  [[nodiscard]] engine::Load read_shared(std::uint32_t slot) const noexcept {
    return {0, shared_[slot].in_flight.load(std::memory_order_relaxed), 0};
  }
  void count_latency(std::uint32_t slot) noexcept {
    constexpr auto relaxed = std::memory_order_relaxed;  // one writer
    auto& values = row_.counters()[slot].values;
    values[shm::kLatencySumUs].store(values[shm::kLatencySumUs].load(relaxed) + kLatencyUs,
                                     relaxed);
    values[shm::kLatencyCount].store(values[shm::kLatencyCount].load(relaxed) + 1, relaxed);
  }

  template <bool kWithLatency>
  void count_in_rows(std::uint64_t operations) noexcept {
    run(
        operations,
        [this](std::uint32_t slot) {
          // Relaxed: a number to go by.
          engine::Load load =
              engine::unpack_load(segment_.table.loads[slot].load(std::memory_order_relaxed));
          load.in_flight = std::max(load.in_flight, own_[slot]);
          return load;
        },
        [this](std::uint32_t slot) {
          shm::count_started(row_.counters()[slot].values[shm::kStarted]);
          ++own_[slot];
          shm::append_journal(row_.journal(), static_cast<std::uint16_t>(slot));
        },
        [this](std::uint32_t slot) {
          if constexpr (kWithLatency) count_latency(slot);
          shm::count_outcome(row_.counters()[slot].values[shm::kSuccess]);
          --own_[slot];
          shm::append_journal(row_.journal(), static_cast<std::uint16_t>(slot));
        });
  }

  template <class LoadOf>
  [[nodiscard, gnu::always_inline]] inline std::uint32_t pick(LoadOf&& load_of) noexcept {
    const std::uint32_t first = shm::get(view_.lookup[random_.below(view_.lookup_count)]);
    std::uint32_t second = first;
    while (second == first)
      second = shm::get(view_.lookup[random_.below(view_.lookup_count)]);
    if (first >= view_.slot_count || second >= view_.slot_count) return shm::kNoSlot;
    const std::uint64_t states[2] = {shm::get(view_.states[first]), shm::get(view_.states[second])};
    if (!shm::is_plain(states[0]) || !shm::is_plain(states[1])) return shm::kNoSlot;
    const auto a = engine::load_score(load_of(first), shm::weight_of(states[0]), kRule);
    const auto b = engine::load_score(load_of(second), shm::weight_of(states[1]), kRule);
    const std::uint32_t better = engine::compare(a, b) == engine::Better::second ? second : first;
    keep(shm::get(segment_.table.instances[better].endpoint[0]));
    return shm::unchanged(*view_.root, view_.entered) ? better : shm::kNoSlot;
  }

  // A pick and the report of the oldest, over and over; so the line that a report touches is not
  // the one that was just touched.
  template <class LoadOf, class Started, class Ended>
  void run(std::uint64_t operations, LoadOf&& load_of, Started&& started, Ended&& ended) noexcept {
    for (std::uint64_t i = 0; i < operations; ++i) {
      std::uint32_t& place = open_[i % kOpen];
      if (place != shm::kNoSlot) ended(place);
      place = pick(load_of);
      if (place != shm::kNoSlot) started(place);
      keep(place);
    }
    for (std::uint32_t& place : open_) {
      if (place != shm::kNoSlot) ended(std::exchange(place, shm::kNoSlot));
    }
  }

  shm::WorkerSegment segment_;
  shm::Row row_;
  PaddedCount* shared_;
  std::vector<std::uint32_t> own_;
  engine::Random random_;
  engine::GenerationView view_;
  std::vector<std::uint32_t> open_;
};

// The whole of the library, for information.
class Calling {
 public:
  explicit Calling(Namespace& made) {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = made.directory().c_str();
    if (ballast_attach(&options, &handle_) != BALLAST_OK ||
        ballast_find_service(handle_, kServiceName, &service_) != BALLAST_OK) {
      throw std::runtime_error(ballast_last_error());
    }
    open_.resize(kOpen, ballast_pick_t BALLAST_PICK_INIT);
    for (ballast_pick_t& pick : open_)
      pick.reported = 1;
  }
  Calling(const Calling&) = delete;
  Calling& operator=(const Calling&) = delete;
  ~Calling() { ballast_detach(handle_); }

  void run(std::uint64_t operations) noexcept {
    for (std::uint64_t i = 0; i < operations; ++i) {
      ballast_pick_t& pick = open_[i % kOpen];
      if (pick.reported == 0) ballast_report(handle_, &pick, BALLAST_SUCCESS, kLatencyUs);
      if (ballast_pick(handle_, service_, nullptr, 0, nullptr, &pick) != BALLAST_OK)
        pick.reported = 1;
    }
  }

 private:
  ballast_t* handle_ = nullptr;
  ballast_service_t service_ = 0;
  std::vector<ballast_pick_t> open_;
};

// As the checker's loop does it.
void run_board(checker::Publisher& publisher, const std::atomic<bool>& stop) {
  while (!stop.load(std::memory_order_relaxed))
    std::this_thread::sleep_for(publisher.look_at_loads());
}

enum class Compared { bare, whole, library };

PairedResult compare_designs(std::size_t instances, unsigned processes, Compared compared) {
  Namespace made(instances, engine::Strategy::least_connections);
  const SharedArray<PaddedCount> shared(made.publisher().segment().table.instances.size());
  PairedPlan plan;
  plan.processes = processes;
  plan.base_operations = plan.subject_operations = kOperations;
  plan.beside = [&](const std::atomic<bool>& stop) { run_board(made.publisher(), stop); };
  return run_paired(plan, [&](unsigned rank) -> Contenders {
    const auto picking = std::make_shared<Picking>(made, shared, rank);
    switch (compared) {
      case Compared::bare:
        break;
      case Compared::whole:
        return {[picking](std::uint64_t n) { picking->by_rows_whole(n); },
                [picking](std::uint64_t n) { picking->by_atomics_whole(n); }};
      case Compared::library: {
        const auto calling = std::make_shared<Calling>(made);
        return {[picking](std::uint64_t n) { picking->by_rows_whole(n); },
                [calling](std::uint64_t n) { calling->run(n); }};
      }
    }
    return {[picking](std::uint64_t n) { picking->by_rows(n); },
            [picking](std::uint64_t n) { picking->by_atomics(n); }};
  });
}

// What a look costs the checker: `rows` workers, each with `requests` requests since the last look.
Spread time_looks(std::size_t rows, std::size_t instances, std::size_t requests) {
  tests::FakeWorkers workers(rows, instances);
  tests::FakeLoads loads(instances);
  std::vector<checker::LoadMember> members;
  for (std::size_t i = 0; i < instances; ++i)
    members.push_back({static_cast<std::uint16_t>(i), 1, 0});
  for (std::size_t row = 0; row < rows; ++row)
    workers.claim(row);
  checker::LoadBoard board;
  std::uint64_t now_ns = 1;
  board.set_members(members, workers.view, loads.view.carried, now_ns);
  engine::Random random(1);
  std::vector<double> figures;
  for (int look = 0; look < 200; ++look) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < requests; ++i) {
        const auto slot = static_cast<std::uint16_t>(random.below(instances));
        workers.serve(row, slot, shm::kSuccess, kLatencyUs);
      }
    }
    now_ns += 2'000'000;
    const std::uint64_t from = monotonic_ns();
    keep(board.look(workers.view, now_ns).records);
    board.publish(loads.view);
    figures.push_back(static_cast<double>(monotonic_ns() - from) / 1000);
  }
  return spread_of(figures);
}

}  // namespace

void add_inflight_cases(Suite& suite) {
  suite.add("cost.board_look_us", [](Rows& rows) {
    for (const std::size_t workers : {4U, 64U}) {
      for (const std::size_t instances : {100U, 1000U}) {
        const std::string where =
            "/n" + std::to_string(instances) + "/" + std::to_string(workers) + "w";
        // Nothing; 20,000 requests a second of each worker; more than the journal holds.
        for (const std::size_t requests : {0U, 40U, 600U}) {
          rows.add({"cost.board_look_us" + where + "/" + std::to_string(requests) + "r",
                    time_looks(workers, instances, requests),
                    "us",
                    Better::lower,
                    {}});
        }
      }
    }
  });
  suite.add("cost.inflight_speedup_2p", [](Rows& rows) {
    for (const unsigned processes : {1U, 2U}) {
      const std::string p = std::to_string(processes) + "p";
      for (const std::size_t instances : {10U, 100U, 1000U}) {
        const std::string where = "/n" + std::to_string(instances) + "/" + p;
        const auto add_both = [&](const std::string& kind, Compared compared) {
          const PairedResult r = compare_designs(instances, processes, compared);
          const std::string name = "cost.inflight" + kind;
          rows.add({name + "_speedup_" + p + where, r.ratio, "x", Better::higher, {}});
          rows.add({name + "_rows_ns" + where, r.base_ns, "ns", Better::lower, {}});
          rows.add({name + "_atomics_ns" + where, r.subject_ns, "ns", Better::lower, {}});
        };
        add_both("", Compared::bare);
        add_both("_whole", Compared::whole);
        const PairedResult library = compare_designs(instances, processes, Compared::library);
        rows.add({"cost.inflight_library_ns" + where, library.subject_ns, "ns", Better::lower, {}});
      }
    }
    rows.add_worst("cost.inflight_speedup_2p", Better::higher, {">= 5x", 5});
  });
}

}  // namespace ballast::bench
