// How long after the report that opens a breaker the last of all processes has a pick that sees it
// open. Each of them has reported one failure; the one that reports the last stamps the time before
// it calls, the others pick and pick and stamp the time at which a pick first falls elsewhere. A
// thousand times, with five processes, which share the processors and yield to each other between
// picks, and with one process a processor, where nobody has to wait for one. Both stamp with the
// processor's counter, which all cores share. No checker runs meanwhile.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/processes.hpp"
#include "engine/handle.hpp"
#include "tests/support/moved_clock.hpp"

namespace ballast::bench {

namespace {

constexpr std::size_t kRounds = 10;
constexpr std::size_t kOpenings = 100;  // in a round
constexpr unsigned kMaxProcesses = 64;
constexpr std::uint64_t kOpenMs = 1'000'000;

struct Board {
  std::atomic<std::uint64_t> opening{0};  // which one it is, counted from 1
  std::atomic<unsigned> failed{0};        // have reported their failure of this opening
  std::atomic<unsigned> seen{0};          // have seen it open
  std::uint64_t opened_at[kRounds * kOpenings];
  std::uint64_t seen_at[kMaxProcesses][kRounds * kOpenings];
};

template <class Condition>
void wait_for(Condition&& condition) {
  while (!condition())
    ::sched_yield();
}

class Worker {
 public:
  explicit Worker(const std::string& directory) {
    auto handle = engine::Handle::attach(directory);
    if (!handle) throw std::runtime_error(handle.error().to_text());
    handle_ = std::move(*handle);
    handle_->set_clock(tests::moved_ms);
    if (handle_->find_service(kServiceName, service_) != BALLAST_OK)
      throw std::runtime_error("the service is not there");
  }

  // Whether the pick falls on its first choice. The report says nothing of the instance, unless it
  // is told to.
  bool is_at_home(ballast_outcome_t outcome = BALLAST_CANCELLED) {
    constexpr char kKey[] = "everybody's";
    ballast_pick_t pick = BALLAST_PICK_INIT;
    if (handle_->pick(service_, kKey, sizeof kKey, pick) != BALLAST_OK)
      throw std::runtime_error("a pick failed");
    static_cast<void>(handle_->report(pick, outcome, BALLAST_NO_LATENCY));
    return pick.reason == BALLAST_FIRST_CHOICE;
  }

 private:
  std::unique_ptr<engine::Handle> handle_;
  ballast_service_t service_ = 0;
};

// All but the one that reports the last failure.
void watch(Worker& worker, Board& board, unsigned rank) {
  for (std::size_t i = 0; i < kRounds * kOpenings; ++i) {
    wait_for([&] { return board.opening.load(std::memory_order_acquire) == i + 1; });
    static_cast<void>(worker.is_at_home(BALLAST_CONNECT_FAILURE));
    board.failed.fetch_add(1, std::memory_order_acq_rel);
    while (worker.is_at_home())
      ::sched_yield();
    board.seen_at[rank][i] = ticks();
    board.seen.fetch_add(1, std::memory_order_acq_rel);
  }
}

void open(Worker& worker, Board& board, unsigned others) {
  for (std::size_t i = 0; i < kRounds * kOpenings; ++i) {
    board.failed.store(0, std::memory_order_relaxed);
    board.seen.store(0, std::memory_order_relaxed);
    board.opening.store(i + 1, std::memory_order_release);
    wait_for([&] { return board.failed.load(std::memory_order_acquire) == others; });
    // Lets the others go round a few times, so that they are found picking.
    for (const std::uint64_t from = ticks(); ticks() < from + 5000;) {
    }
    board.opened_at[i] = ticks();
    static_cast<void>(worker.is_at_home(BALLAST_CONNECT_FAILURE));
    wait_for([&] { return board.seen.load(std::memory_order_acquire) == others; });
    if (worker.is_at_home()) throw std::runtime_error("the breaker did not open");
    tests::move_clock(2 * kOpenMs);
    static_cast<void>(worker.is_at_home(BALLAST_SUCCESS));  // the trial
    if (!worker.is_at_home()) throw std::runtime_error("the breaker did not close");
  }
}

// In microseconds, of each round.
struct Delays {
  std::vector<double> p50, p99;
};

Delays measure(unsigned processes) {
  static_cast<void>(tests::clock_offset());  // before anybody is forked
  checker::Settings settings = settings_of(10, engine::Strategy::maglev);
  engine::Policy& policy = settings.services[0].policy;
  policy.breaker_consecutive = processes;
  policy.breaker_rate_percent = 0;
  policy.breaker_open_ms = policy.breaker_open_max_ms = kOpenMs;
  const tests::TempDir directory;
  const auto publisher = open_publisher(directory.path(), settings);
  const SharedArray<Board> board(1);
  const unsigned last = processes - 1;
  run_processes(processes, [&](unsigned rank) {
    Worker worker(directory.path());
    if (rank == last) {
      open(worker, board[0], last);
    } else {
      watch(worker, board[0], rank);
    }
  });
  Delays out;
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<double> delays;
    for (std::size_t i = round * kOpenings; i < (round + 1) * kOpenings; ++i) {
      std::uint64_t seen = 0;
      for (unsigned rank = 0; rank < last; ++rank)
        seen = std::max(seen, board[0].seen_at[rank][i]);
      delays.push_back(
          static_cast<double>(static_cast<std::int64_t>(seen - board[0].opened_at[i])) *
          ns_per_tick() / 1000);
    }
    out.p50.push_back(quantile(delays, 0.5));
    out.p99.push_back(quantile(delays, 0.99));
  }
  return out;
}

}  // namespace

void add_breaker_cases(Suite& suite) {
  suite.add("breaker.open_all_p99_us", [](Rows& rows) {
    const Delays five = measure(5);
    rows.add({"breaker.open_all_p99_us", spread_of(five.p99), "us", Better::lower, {}});
    rows.add({"breaker.open_all_p50_us", spread_of(five.p50), "us", Better::lower, {}});
    const auto count = static_cast<unsigned>(processors().size());
    if (count < 2) {
      rows.note("one processor only: not measured with a processor for each process");
      return;
    }
    const Delays alone = measure(std::min(count, kMaxProcesses));
    rows.add({"breaker.open_all_p99_us/a_processor_each",
              spread_of(alone.p99),
              "us",
              Better::lower,
              {}});
    rows.add({"breaker.open_all_p50_us/a_processor_each",
              spread_of(alone.p50),
              "us",
              Better::lower,
              {}});
  });
}

}  // namespace ballast::bench
