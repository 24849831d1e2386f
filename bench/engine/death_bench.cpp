// How long a dead server goes on being picked. A process that serves one instance, or a thousand,
// is killed with SIGKILL; the real checker, with its default settings and in its own process,
// notices; the time ends when the last of two workers has had every key of a dead instance go
// elsewhere. The workers are pinned to two processors. For the figures that count they rest after a
// pick that still falls on the dead, as workers do that wait for requests: 50 us where one instance
// dies, 500 us where a thousand do (waking 20,000 times a second would take the processors from the
// dying process and the checker, and double the figure). The rest is part of the figure. Beside
// them stand the figures of workers that never rest: on a machine of two processors the dying
// process, the checker and both workers then fight for them, and it is the scheduler that is
// measured.
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/live_checker.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/processes.hpp"
#include "shm/lease.hpp"
#include "shm/paths.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

constexpr unsigned kWorkers = 2;
constexpr std::size_t kStaying = 9;  // instances of another process, that live on
constexpr std::uint64_t kPatienceNs = 30'000'000'000;

struct Rest {
  long ns = 0;  // between two looks; 0: never
};

struct Watch {
  Barrier barrier;
  std::atomic<unsigned> ready{0};
  std::uint64_t seen_ns[kWorkers] = {};
};

void sleep_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// `count` endpoints that nobody listens on, 127.1.x.y with one port.
std::vector<shm::Endpoint> endpoints_of(std::size_t count, std::uint8_t second) {
  const std::uint16_t port = tests::free_port();
  std::vector<shm::Endpoint> out;
  for (std::size_t i = 0; i < count; ++i) {
    shm::Endpoint endpoint = tests::local_endpoint(port);
    endpoint.address[1] = second;
    endpoint.address[2] = static_cast<std::uint8_t>(i / 250);
    endpoint.address[3] = static_cast<std::uint8_t>(1 + i % 250);
    out.push_back(endpoint);
  }
  return out;
}

checker::Settings settings_for(const std::vector<shm::Endpoint>& dying,
                               const std::vector<shm::Endpoint>& staying) {
  checker::Settings settings;
  settings.max_workers = 16;
  checker::ServiceSettings service;
  service.name = kServiceName;
  for (const auto* list : {&dying, &staying}) {
    for (const shm::Endpoint& endpoint : *list)
      service.instances.push_back({endpoint, endpoint.to_text(), 1});
  }
  settings.services.push_back(std::move(service));
  return settings;
}

// The active segment, once every instance in it is up.
std::uint64_t wait_until_up(const std::string& directory, std::size_t instances) {
  const std::uint64_t limit = monotonic_ns() + kPatienceNs;
  while (monotonic_ns() < limit) {
    const auto ids = shm::list_segments(directory);
    if (!ids.empty()) {
      if (auto segment = shm::WorkerSegment::open(directory, ids.back())) {
        const auto up =
            std::count_if(segment->table.states.begin(), segment->table.states.end(),
                          [](const shm::Word64& word) { return shm::is_usable(shm::get(word)); });
        if (static_cast<std::size_t>(up) == instances) return ids.back();
      }
    }
    sleep_ms(5);
  }
  throw std::runtime_error("the instances did not come up");
}

// One key for each of the dying instances' slots.
std::vector<Key> keys_of_slots(Worker& worker, const std::vector<bool>& dying) {
  std::vector<Key> out;
  std::vector<bool> wanted = dying;
  const auto left = static_cast<std::size_t>(std::count(wanted.begin(), wanted.end(), true));
  for (std::uint64_t seed = 1; out.size() < left; ++seed) {
    for (const Key& key : make_keys(KeyOrder::mixed, seed)) {
      const std::uint32_t slot = worker.pick(key);
      if (slot >= wanted.size() || !wanted[slot]) continue;
      wanted[slot] = false;
      out.push_back(key);
    }
  }
  return out;
}

void watch(Worker& worker, const std::vector<bool>& dying, unsigned rank, Rest rest,
           Watch& shared) {
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  std::vector<Key> keys = keys_of_slots(worker, dying);
  const auto is_dying = [&](std::uint32_t slot) { return slot >= dying.size() || dying[slot]; };
  shared.barrier.wait(kWorkers);
  shared.ready.fetch_add(1, std::memory_order_release);  // pairs with the parent's load
  const std::uint64_t limit = monotonic_ns() + kPatienceNs;
  // A key that has gone elsewhere stays there, so each look begins where the last one stopped: with
  // looks at all keys of a thousand instances the workers would compete with the checker.
  while (true) {
    while (!keys.empty() && !is_dying(worker.pick(keys.back())))
      keys.pop_back();
    if (keys.empty()) break;
    if (rest.ns != 0) {
      const timespec pause{0, rest.ns};
      ::nanosleep(&pause, nullptr);
    }
    if (monotonic_ns() > limit) throw std::runtime_error("the death was not seen for 30 s");
  }
  shared.seen_ns[rank] = monotonic_ns();
}

double death_ms(std::size_t dying_count, std::size_t staying_count, Rest rest) {
  const tests::TempDir directory;
  const std::vector<shm::Endpoint> dying = endpoints_of(dying_count, 1);
  const std::vector<shm::Endpoint> staying = endpoints_of(staying_count, 2);
  tests::TinyServer victim(tests::Behaviour::good, dying);
  const tests::TinyServer survivor(tests::Behaviour::good, staying);
  const checker::Settings settings = settings_for(dying, staying);
  const Child checker([&] { run_checker(directory.path(), settings); });
  const std::uint64_t id = wait_until_up(directory.path(), dying_count + staying_count);

  const SharedArray<Watch> shared(1);
  std::uint64_t killed_ns = 0;
  std::thread killer([&] {
    while (shared[0].ready.load(std::memory_order_acquire) < kWorkers)
      sleep_ms(1);
    sleep_ms(30);
    killed_ns = monotonic_ns();
    victim.kill(/*wait=*/false);
  });
  try {
    run_processes(kWorkers, [&](unsigned rank) {
      Worker worker(directory.path(), id, KeyOrder::mixed, rank);
      auto segment = shm::WorkerSegment::open(directory.path(), id);
      if (!segment) throw std::runtime_error(segment.error().to_text());
      std::vector<bool> dying_slots(segment->table.instances.size());
      for (std::size_t slot = 0; slot < dying_slots.size(); ++slot) {
        const auto& words = segment->table.instances[slot].endpoint;
        const shm::Endpoint endpoint =
            shm::Endpoint::from_words({shm::get(words[0]), shm::get(words[1]), shm::get(words[2])});
        dying_slots[slot] = endpoint.port == dying[0].port && endpoint.address[1] == 1;
      }
      watch(worker, dying_slots, rank, rest, shared[0]);
    });
  } catch (...) {
    shared[0].ready.store(kWorkers, std::memory_order_release);  // pairs with the killer's load
    killer.join();
    throw;
  }
  killer.join();
  const auto& seen = shared[0].seen_ns;
  return static_cast<double>(*std::max_element(seen, seen + kWorkers) - killed_ns) / 1e6;
}

void bench_death(Rows& rows, const std::string& id, std::size_t dying, std::size_t rounds,
                 Rest rest, const Goal& goal) {
  std::vector<double> resting, spinning;
  for (std::size_t round = 0; round < rounds; ++round) {
    resting.push_back(death_ms(dying, kStaying, rest));
    spinning.push_back(death_ms(dying, kStaying, Rest{}));
  }
  rows.add({id, spread_of(resting), "ms", Better::lower, goal});
  rows.add({id + "/spinning_workers", spread_of(spinning), "ms", Better::lower, {}});
}

}  // namespace

void add_death_cases(Suite& suite) {
  suite.add("death.one_ms", [](Rows& rows) {
    bench_death(rows, "death.one_ms", 1, 21, Rest{50'000}, {"<= 2 ms", 2});
  });
  suite.add("death.thousand_ms", [](Rows& rows) {
    bench_death(rows, "death.thousand_ms", 1000, 11, Rest{500'000}, {"<= 30 ms", 30});
  });
}

}  // namespace ballast::bench
