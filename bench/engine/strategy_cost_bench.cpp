// Suite `strategies`: what a pick and its report cost with each strategy, over the same choice on
// private arrays (bench/engine/strategy_floor.hpp), by one process and by two that share all there
// is to share. The handle is called directly, not through the shared library, so that the calls are
// not what is measured. A process beside them moves the load board's beat as the checker does.
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "bench/engine/cases.hpp"
#include "bench/engine/strategy_floor.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"
#include "engine/handle.hpp"
#include "engine/load_word.hpp"
#include "engine/random.hpp"
#include "shm/generation.hpp"
#include "shm/segment.hpp"

namespace ballast::bench {

namespace {

constexpr std::uint64_t kLatencyUs = 250;
constexpr std::chrono::milliseconds kBeat{2};

struct Kind {
  const char* name;
  engine::Policy policy;
  bool grows = false;  // with the number of instances, as asked for
};

engine::Policy policy_of(engine::Strategy strategy, std::uint32_t choices,
                         std::uint32_t bound_percent = 0) {
  engine::Policy policy;
  policy.strategy = strategy;
  policy.choices = choices;
  policy.hash_bound_percent = bound_percent;
  return policy;
}

checker::Settings settings_with(std::size_t instances, const engine::Policy& policy) {
  checker::Settings settings = settings_of(instances, policy.strategy);
  settings.services[0].policy = policy;
  return settings;
}

// A little load everywhere, differing from one instance to the next.
void lay_loads(checker::Publisher& publisher) {
  const shm::TableWriter& table = publisher.segment().table;
  engine::Random random(7);
  std::uint64_t total = 0;
  std::uint64_t weights = 0;
  for (const checker::PublishedInstance& instance : publisher.instances()) {
    const engine::Load load{static_cast<std::uint32_t>(500 + random.below(1000)),
                            static_cast<std::uint32_t>(1 + random.below(3)), 0};
    total += load.in_flight;
    weights += shm::weight_of(shm::get(table.states[instance.slot]));
    shm::put(table.loads[instance.slot], engine::pack(load));
  }
  shm::put(table.service_loads[0].in_flight, total);
  shm::put(table.service_loads[0].weight_sum, weights);
}

struct Pair {
  std::vector<Key> keys;
  std::unique_ptr<engine::Handle> handle;
  ballast_service_t service = 0;
  std::unique_ptr<StrategyFloor> floor;

  Pair(const std::string& directory, std::uint64_t segment_id, unsigned rank)
      : keys(make_keys(KeyOrder::runs, rank + 1)) {
    auto attached = engine::Handle::attach(directory);
    if (!attached) throw std::runtime_error(attached.error().to_text());
    handle = std::move(*attached);
    if (handle->find_service(kServiceName, service) != BALLAST_OK || handle->warning() != nullptr)
      throw std::runtime_error("the service is not to be had");
    handle->seed(rank);
    const Worker worker(directory, segment_id, KeyOrder::runs, rank);
    floor = std::make_unique<StrategyFloor>(worker.service(), rank);
  }

  void pick_floor(std::uint64_t operations) noexcept {
    over_keys(keys, operations, [this](const Key& key) {
      ballast_pick_t pick = BALLAST_PICK_INIT;
      floor->pick(key, pick);
      keep(&pick);
      floor->report(pick, BALLAST_SUCCESS, kLatencyUs);
      return pick.slot;
    });
  }
  void pick_safe(std::uint64_t operations) noexcept {
    over_keys(keys, operations, [this](const Key& key) {
      ballast_pick_t pick = BALLAST_PICK_INIT;
      if (handle->pick(service, key.bytes, key.size, pick) != BALLAST_OK) return UINT32_MAX;
      keep(&pick);
      static_cast<void>(handle->report(pick, BALLAST_SUCCESS, kLatencyUs));
      return pick.slot;
    });
  }
};

PairedResult measure(const Kind& kind, std::size_t instances, unsigned processes) {
  const tests::TempDir directory;
  const auto publisher = open_publisher(directory.path(), settings_with(instances, kind.policy));
  for (const checker::PublishedInstance& instance : publisher->instances()) {
    publisher->set_health(instance.slot, instance.incarnation, shm::Health::up,
                          shm::Reason::passed);
  }
  lay_loads(*publisher);
  PairedPlan plan;
  plan.processes = processes;
  plan.rounds = 9;
  plan.base_operations = plan.subject_operations = kind.grows ? 8192 / instances + 64 : kKeyCount;
  plan.beside = [&](const std::atomic<bool>& stop) {
    auto& beat = publisher->segment().table.header->load_beat;
    for (std::uint64_t n = 1; !stop.load(std::memory_order_relaxed); ++n) {
      beat.store(n, std::memory_order_relaxed);
      std::this_thread::sleep_for(kBeat);
    }
  };
  return run_paired(plan, [&](unsigned rank) {
    const auto pair = std::make_shared<Pair>(directory.path(), publisher->segment_id(), rank);
    return Contenders{[pair](std::uint64_t n) { pair->pick_floor(n); },
                      [pair](std::uint64_t n) { pair->pick_safe(n); }};
  });
}

void bench_kind(Rows& rows, const Kind& kind) {
  const std::string id = "cost." + std::string(kind.name);
  for (const std::size_t instances : {10U, 100U, 1000U}) {
    for (const unsigned processes : {1U, 2U}) {
      const PairedResult r = measure(kind, instances, processes);
      const std::string where =
          "/n" + std::to_string(instances) + "/" + std::to_string(processes) + "p";
      rows.add({id + "_over_floor" + where, r.ratio, "x", Better::lower, {}});
      rows.add({id + "_floor_ns" + where, r.base_ns, "ns", Better::lower, {}});
      rows.add({id + "_ns" + where, r.subject_ns, "ns", Better::lower, {}});
    }
  }
  if (!kind.grows) rows.add_worst(id + "_over_floor", Better::lower, {"<= 1.4x", 1.4});
}

}  // namespace

void add_strategy_cost_cases(Suite& suite) {
  using engine::Strategy;
  static const Kind kKinds[] = {
      {"maglev", policy_of(Strategy::maglev, 2)},
      {"rendezvous", policy_of(Strategy::rendezvous, 2)},
      {"ketama", policy_of(Strategy::ketama, 2)},
      {"bounded_maglev", policy_of(Strategy::maglev, 2, 125)},
      {"round_robin", policy_of(Strategy::round_robin, 2)},
      {"random", policy_of(Strategy::random, 2)},
      {"least_connections", policy_of(Strategy::least_connections, 2)},
      {"least_response_time", policy_of(Strategy::least_response_time, 2)},
      {"adaptive", policy_of(Strategy::adaptive, 3)},
      {"least_connections_of_all", policy_of(Strategy::least_connections, 0), true},
  };
  for (const Kind& kind : kKinds)
    suite.add("cost." + std::string(kind.name), [&kind](Rows& rows) { bench_kind(rows, kind); });
}

}  // namespace ballast::bench
