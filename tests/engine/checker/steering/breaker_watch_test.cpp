// The checker's part in breakers, with a publisher and workers of its own process: permits of
// workers that left, budgets that a dead worker left too small, and new tenants.
#include "engine/checker/steering/breaker_watch.hpp"

#include <doctest/doctest.h>

#include "engine/breaker_report.hpp"
#include "shm/rows.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using namespace ballast::engine;

namespace {

Policy policy() {
  Policy policy;
  policy.breaker_jitter_percent = 0;
  return policy;
}

struct World {
  explicit World(int instances)
      : published(tests::settings_of({tests::service_of("web", Strategy::maglev, instances)})) {
    published.publisher().tick();  // the first one counts
  }

  tests::Published published;

  [[nodiscard]] const shm::WorkersWriter& workers() {
    return published.publisher().segment().workers;
  }
  [[nodiscard]] auto words(std::size_t i) {
    return breaker_words(workers(), published.find(0, i).slot);
  }
  [[nodiscard]] BreakerOwner owner(std::size_t i) {
    return {published.find(0, i).incarnation, published.find(0, i).slot};
  }
  [[nodiscard]] shm::Word64& budget() { return workers().services[0].open_breakers; }
  [[nodiscard]] std::uint32_t count() {
    return unpack_budget(budget().load(std::memory_order_relaxed)).count;
  }
  [[nodiscard]] BreakerState state(std::size_t i) {
    return unpack_breaker(words(i).breaker.load(std::memory_order_relaxed)).state;
  }
  Noted fail(std::size_t i) {
    return note_failure(words(i), owner(i), policy(), budget(), 2, coarse_ms);
  }
  void open(std::size_t i) {
    while (fail(i) == Noted::counted) {
    }
    REQUIRE(state(i) == BreakerState::open);
  }
  // A second of the checker's life.
  checker::BreakerLook second() {
    checker::BreakerLook sum;
    for (int i = 0; i < 10; ++i) {
      const checker::TickReport report = published.publisher().tick();
      sum.permits_freed += report.permits_freed;
      sum.budgets_corrected += report.budgets_corrected;
    }
    return sum;
  }
};

}  // namespace

TEST_CASE("a permit is freed when its row has no owner any more, not before") {
  World w(4);
  w.open(1);
  w.words(1).breaker.store(
      pack(due_now({BreakerState::open, 0, 1, tenant_of(w.owner(1).incarnation), 0}, coarse_ms())),
      std::memory_order_relaxed);
  auto row = shm::Row::claim(w.workers(), w.published.publisher().segment().workers_file.path());
  REQUIRE(row);
  REQUIRE(take_permit(w.words(1), w.owner(1).incarnation, policy(), row->index(),
                      row->incarnation(), coarse_ms)
              .has_value());
  CHECK(w.second().permits_freed == 0);
  CHECK(w.state(1) == BreakerState::half_open);

  SUBCASE("it left") {
    row->leave();
    CHECK(w.second().permits_freed == 1);
    CHECK(w.state(1) == BreakerState::open);
  }
  SUBCASE("its row has another owner by now") {
    row->leave();
    auto next = shm::Row::claim(w.workers(), w.published.publisher().segment().workers_file.path());
    REQUIRE(next);
    CHECK(next->index() == row->index());
    CHECK(w.second().permits_freed == 1);
  }
  CHECK(w.count() == 1);
  CHECK(w.second().budgets_corrected == 0);
}

TEST_CASE("a budget that is wrong twice is corrected, one that moves is left alone") {
  World w(4);
  w.open(0);
  REQUIRE(take_budget(w.budget(), 4).has_value());  // and died
  CHECK(w.second().budgets_corrected == 0);
  CHECK(w.second().budgets_corrected == 1);
  CHECK(w.count() == 1);
  CHECK(w.second().budgets_corrected == 0);

  // Taken and given back in between: not the same doubt.
  REQUIRE(take_budget(w.budget(), 4).has_value());
  CHECK(w.second().budgets_corrected == 0);
  const auto taken = take_budget(w.budget(), 4);
  REQUIRE(taken.has_value());
  give_budget(w.budget(), *taken);
  CHECK(w.second().budgets_corrected == 0);
  CHECK(w.count() == 2);
  CHECK(w.second().budgets_corrected == 1);
  CHECK(w.count() == 1);
}

TEST_CASE("a new tenant begins with a closed breaker, its predecessor gives the budget back") {
  World w(4);
  w.open(3);
  const auto slot = w.published.find(0, 3).slot;
  // Out, and back while its slot cools.
  w.published.apply(tests::settings_of({tests::service_of("web", Strategy::maglev, 3)}));
  w.second();
  w.second();
  CHECK(w.count() == 0);
  w.published.apply(tests::settings_of({tests::service_of("web", Strategy::maglev, 4)}));
  CHECK(w.published.find(0, 3).slot == slot);
  CHECK(w.state(3) == BreakerState::closed);
  CHECK(w.fail(3) == Noted::counted);
  w.open(3);
  CHECK(w.count() == 1);
}

TEST_CASE("a service that takes a record over takes no budget over") {
  World w(4);
  w.open(0);
  w.published.apply(tests::settings_of({tests::service_of("other", Strategy::maglev, 4, 10)}));
  w.published.apply(tests::settings_of({tests::service_of("third", Strategy::maglev, 4, 20)}));
  for (std::size_t i = 0; i < w.workers().services.size(); ++i) {
    const auto word = w.workers().services[i].open_breakers.load(std::memory_order_relaxed);
    if (w.published.publisher().segment().table.services[i].identity.load(
            std::memory_order_relaxed) != 0 &&
        i != 0) {
      CHECK(unpack_budget(word).count == 0);
    }
  }
}

TEST_CASE("breakers move along when the table grows") {
  World w(4);
  w.open(2);
  auto larger = tests::settings_of({tests::service_of("web", Strategy::maglev, 4)}, 64);
  const auto before = w.published.publisher().segment_id();
  w.published.apply(larger);
  REQUIRE(w.published.publisher().segment_id() != before);
  CHECK(w.state(2) == BreakerState::open);
  CHECK(w.count() == 1);
  CHECK(w.fail(1) == Noted::counted);
}

TEST_CASE("words about nobody are made the present tenants'") {
  World w(4);
  for (std::size_t i = 0; i < 4; ++i)
    w.words(i).breaker.store(0, std::memory_order_relaxed);
  CHECK(w.fail(0) == Noted::nothing);
  w.published.apply(w.published.settings());
  CHECK(w.fail(0) == Noted::counted);
}
