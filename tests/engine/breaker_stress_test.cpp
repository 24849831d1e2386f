// Breakers under real parallelism: threads that fail, succeed and try instances of one service as
// fast as they can, beside one that counts. Permits never expire here, so that two holders at once
// would be a fault; for ThreadSanitizer, too, which sees nothing of what processes share.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "engine/breaker.hpp"
#include "shm/layout.hpp"

using namespace ballast;
using namespace ballast::engine;

namespace {

constexpr std::uint32_t kTenant = 3;
constexpr std::uint32_t kCap = 2;
constexpr std::size_t kInstances = 5;
constexpr int kThreads = 4;
constexpr int kSteps = 50'000;  // of each thread, at least
constexpr std::uint64_t kCounts = 50;
constexpr auto kRelaxed = std::memory_order_relaxed;

struct Instance {
  shm::Word64 breaker{0};
  shm::Word64 window{0};
  shm::Word64 permit{0};
  std::atomic<int> holders{0};

  [[nodiscard]] BreakerWords<shm::Word64> words() { return {breaker, window, permit}; }
};

struct World {
  std::array<Instance, kInstances> instances;
  shm::Word64 budget{0};
  std::atomic<std::uint64_t> now_ms{1000};
  std::atomic<int> crowded{0};  // two holders of one permit at once
  std::atomic<std::uint64_t> opened{0}, closed{0}, counted{0};
  Policy policy;

  World() {
    policy.breaker_consecutive = 3;
    policy.breaker_open_ms = policy.breaker_open_max_ms = 10;
    policy.breaker_trial_ms = 600'000;
    policy.max_ejected_percent = 50;
    for (Instance& i : instances)
      reset_breaker(i.words(), kTenant, [] { return std::uint64_t{1000}; });
  }
  [[nodiscard]] auto clock() {
    return [this] { return now_ms.load(kRelaxed); };
  }
};

void work(World& world, std::uint32_t row) {
  std::uint64_t draw = row;
  for (int step = 0; step < kSteps || world.counted.load(kRelaxed) < kCounts; ++step) {
    draw = attempt_hash(draw, 1);
    const auto slot = static_cast<std::uint32_t>(reduce(draw, kInstances));
    Instance& instance = world.instances[slot];
    const auto words = instance.words();
    const BreakerOwner owner{kTenant, slot};
    if (step % 16 == 0) world.now_ms.fetch_add(1, kRelaxed);
    switch (breaker_allows(instance.breaker, kTenant, world.policy, world.clock())) {
      case Gate::closed:
        if (draw % 8 == 0) {
          note_success(words, kTenant);
          note_successes(words, kTenant);
        } else if (note_failure(words, owner, world.policy, world.budget, kCap, world.clock()) ==
                   Noted::opened) {
          world.opened.fetch_add(1, kRelaxed);
        }
        break;
      case Gate::due: {
        const auto stamp = take_permit(words, kTenant, world.policy, row, 1, world.clock());
        if (!stamp) break;
        if (instance.holders.fetch_add(1, kRelaxed) != 0) world.crowded.fetch_add(1, kRelaxed);
        std::this_thread::yield();  // somebody may come in
        instance.holders.fetch_sub(1, kRelaxed);
        const Effect effect =
            draw % 3 == 0 ? Effect::failure : (draw % 3 == 1 ? Effect::none : Effect::success);
        if (decide_trial(words, owner, world.policy, *stamp, effect, 0, world.budget,
                         world.clock()) == Noted::closed) {
          world.closed.fetch_add(1, kRelaxed);
        }
        break;
      }
      case Gate::open:
        break;
    }
  }
}

bool count(World& world) {
  return recount(world.budget, [&] {
    std::uint32_t out = 0;
    for (Instance& instance : world.instances)
      out += settle_breaker(instance.breaker, kTenant, world.clock());
    return out;
  });
}

}  // namespace

TEST_CASE("threads that open, try and close, and one that counts") {
  World world;
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (std::uint32_t row = 0; row < kThreads; ++row) {
    threads.emplace_back([&world, &running, row] {
      work(world, row);
      running.fetch_sub(1, kRelaxed);
    });
  }
  std::uint32_t most = 0;
  while (running.load(kRelaxed) != 0) {
    if (count(world)) world.counted.fetch_add(1, kRelaxed);
    most = std::max(most, unpack_budget(world.budget.load(kRelaxed)).count);
  }
  for (std::thread& thread : threads)
    thread.join();
  CHECK(world.crowded.load(kRelaxed) == 0);
  CHECK(world.opened.load(kRelaxed) > 100);
  CHECK(world.closed.load(kRelaxed) > 100);
  CHECK(most <= kCap);
  CHECK(count(world));
  std::uint32_t out = 0;
  for (const Instance& instance : world.instances)
    out += is_out(instance.breaker, kTenant) ? 1 : 0;
  CHECK(unpack_budget(world.budget.load(kRelaxed)).count == out);
  CHECK(out <= kCap);
}
