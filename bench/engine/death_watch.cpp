// The workers, and what they share.
#include "bench/engine/death_watch.hpp"

#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "bench/engine/worker.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/program.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

constexpr unsigned kWorkers = kDeathWorkers;
constexpr std::uint64_t kPatienceNs = 30'000'000'000;

struct Watch {
  Barrier barrier;
  std::atomic<unsigned> ready{0};
  std::uint64_t seen_ns[kWorkers] = {};
};

void sleep_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
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

// The slots that hold one of `dying`, which all have one port and one network.
std::vector<bool> slots_of(const shm::WorkerSegment& segment, const shm::Endpoint& dying) {
  std::vector<bool> out(segment.table.instances.size());
  for (std::size_t slot = 0; slot < out.size(); ++slot) {
    const auto& words = segment.table.instances[slot].endpoint;
    const shm::Endpoint endpoint =
        shm::Endpoint::from_words({shm::get(words[0]), shm::get(words[1]), shm::get(words[2])});
    out[slot] = endpoint.port == dying.port && endpoint.address[1] == dying.address[1];
  }
  return out;
}

}  // namespace

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

double watch_death(const std::string& directory, std::uint64_t segment_id,
                   const std::vector<shm::Endpoint>& dying, Rest rest,
                   const std::function<void()>& kill, bool real_time) {
  const SharedArray<Watch> shared(1);
  std::uint64_t killed_ns = 0;
  std::thread killer([&] {
    while (shared[0].ready.load(std::memory_order_acquire) < kWorkers)
      sleep_ms(1);
    sleep_ms(30);
    killed_ns = monotonic_ns();
    kill();
  });
  try {
    run_processes(kWorkers, [&](unsigned rank) {
      Worker worker(directory, segment_id, KeyOrder::mixed, rank);
      auto segment = shm::WorkerSegment::open(directory, segment_id);
      if (!segment) throw std::runtime_error(segment.error().to_text());
      const std::vector<bool> slots = slots_of(*segment, dying.front());
      if (real_time) run_at_real_time();
      watch(worker, slots, rank, rest, shared[0]);
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

}  // namespace ballast::bench
