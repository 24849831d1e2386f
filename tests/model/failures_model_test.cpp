// The counts of failed requests (shm/failure_counts.hpp), explored by Relacy: workers count, each
// of which may be killed between the two words, and a checker looks as WorkerWatch does, at the
// instances only when the service's count has moved. No failure whose worker lived is ever
// overlooked for good. Every sabotaged variant must be caught. Guards
// docs/memory-model.md#failure-counts.
#include <doctest/doctest.h>

#include "shm/failure_counts.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage { none, stored_relaxed, loaded_relaxed, service_first, instances_first };

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "failures";
    case Sabotage::stored_relaxed:
      return "failures, counted relaxed";
    case Sabotage::loaded_relaxed:
      return "failures, the service's count loaded relaxed";
    case Sabotage::service_first:
      return "failures, the service's counted first";
    case Sabotage::instances_first:
      return "failures, the instances looked at first";
  }
  return "?";
}

struct Seen {
  std::uint64_t found_early = 0;
  std::uint64_t killed = 0;
};

template <Sabotage kSabotage>
struct FailuresModel : rl::test_suite<FailuresModel<kSabotage>, 3> {
  static constexpr Orders kOrders = kSabotage == Sabotage::stored_relaxed   ? Orders::relaxed_stores
                                    : kSabotage == Sabotage::loaded_relaxed ? Orders::relaxed_loads
                                                                            : Orders::as_written;
  static constexpr unsigned kWorkers = 2;
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  Word<kOrders> service;
  Word<kOrders> instances[kWorkers];
  std::uint64_t counted[kWorkers] = {};  // beside the model, of workers that lived to the end
  std::uint64_t found[kWorkers] = {};
  std::uint64_t last = 0;

  void before() {
    mortality.reset();
    service.preset(0);
    for (auto& instance : instances)
      instance.preset(0);
  }

  void thread(unsigned index) {
    if (index < kWorkers) {
      mortality.may_die_within(2);
      if constexpr (kSabotage == Sabotage::service_first) {
        service.fetch_add(1, std::memory_order_release);
        instances[index].fetch_add(1, std::memory_order_relaxed);
      } else {
        shm::count_failure(instances[index], service);
      }
      if (mortality.dead()) ++seen.killed;
      counted[index] = mortality.dead() ? 0 : 1;
    } else {
      for (unsigned i = 0; i < 2; ++i)
        look();
      seen.found_early += found[0] + found[1];
    }
  }

  // A look long after.
  void after() {
    mortality.reset();
    look();
    for (unsigned i = 0; i < kWorkers; ++i)
      RL_ASSERT(found[i] >= counted[i]);
  }

 private:
  void look() {
    std::uint64_t early[kWorkers] = {};
    if constexpr (kSabotage == Sabotage::instances_first) {
      for (unsigned i = 0; i < kWorkers; ++i)
        early[i] = instances[i].load(std::memory_order_relaxed);
    }
    const std::uint64_t all = shm::read_failures(service);
    if (all == last) return;
    last = all;
    for (unsigned i = 0; i < kWorkers; ++i) {
      found[i] = kSabotage == Sabotage::instances_first
                     ? early[i]
                     : instances[i].load(std::memory_order_relaxed);
    }
  }
};

constexpr std::uint64_t kIterations = 200'000;

}  // namespace

TEST_CASE("no failure is overlooked for good") {
  using Model = FailuresModel<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen.found_early > kIterations / 10);
  CHECK(Model::seen.killed > kIterations / 10);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<FailuresModel<Sabotage::stored_relaxed>>(kIterations);
  must_be_caught<FailuresModel<Sabotage::loaded_relaxed>>(kIterations);
  must_be_caught<FailuresModel<Sabotage::service_first>>(kIterations);
  must_be_caught<FailuresModel<Sabotage::instances_first>>(kIterations);
}

}  // namespace ballast::model
