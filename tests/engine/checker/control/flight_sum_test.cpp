// What is in flight at instances that are to leave, by real workers: also in a segment that was
// replaced, whose rows count on while nobody has looked at them again.
#include "engine/checker/control/flight_sum.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "shm/paths.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using namespace ballast::checker;
using tests::Attached;
using tests::Published;

namespace {

constexpr auto kAtOnce = std::chrono::steady_clock::time_point::max();

Settings web(int instances) {
  return tests::settings_of({tests::service_of("web", Strategy::maglev, instances)});
}

// Of the first three instances, together.
std::uint64_t in_flight(const Published& published) {
  std::vector<DrainingSlot> slots;
  for (std::size_t i = 0; i < 3; ++i) {
    const PublishedInstance& instance = published.find(0, i);
    slots.push_back({instance.slot, instance.incarnation});
  }
  FlightSum sum(slots);
  REQUIRE(sum.step(published.publisher(), kAtOnce));
  std::uint64_t all = 0;
  for (const std::uint64_t count : sum.counts())
    all += count;
  return all;
}

ballast_pick_t pick_one(const Attached& worker) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", pick) == BALLAST_OK);
  return pick;
}
void end(const Attached& worker, ballast_pick_t& pick) {
  REQUIRE(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
}

TEST_CASE("what ends in a replaced segment is not in flight any more") {
  Published published(web(3));
  const Attached worker(published.directory());
  CHECK(in_flight(published) == 0);
  ballast_pick_t first = pick_one(worker);
  ballast_pick_t second = pick_one(worker);
  CHECK(in_flight(published) == 2);
  published.apply(web(300));
  REQUIRE(published.publisher().draining() != nullptr);
  CHECK(in_flight(published) == 2);
  end(worker, first);
  CHECK(in_flight(published) == 1);
  end(worker, second);
  CHECK(in_flight(published) == 0);
}

TEST_CASE("what begins there, since its worker cannot leave, is in flight") {
  Published published(web(3));
  const Attached worker(published.directory());
  published.apply(web(300));
  REQUIRE(published.publisher().draining() != nullptr);
  const std::string table =
      shm::table_path(published.directory(), published.publisher().segment_id());
  REQUIRE(std::rename(table.c_str(), (table + ".hidden").c_str()) == 0);
  ballast_pick_t pick = pick_one(worker);
  CHECK(in_flight(published) == 1);
  end(worker, pick);
  CHECK(in_flight(published) == 0);
  REQUIRE(std::rename((table + ".hidden").c_str(), table.c_str()) == 0);
}

TEST_CASE("a sum begins anew when the segment before is drained meanwhile") {
  Published published(web(3));
  ballast_pick_t pick = BALLAST_PICK_INIT;
  auto worker = std::make_unique<Attached>(published.directory());
  pick = pick_one(*worker);
  published.apply(web(300));
  std::vector<DrainingSlot> slots;
  for (const PublishedInstance& instance : published.publisher().instances())
    slots.push_back({instance.slot, instance.incarnation});
  // Longer than what one piece reads.
  const std::vector<DrainingSlot> some = slots;
  for (int i = 0; i < 9; ++i)
    slots.insert(slots.end(), some.begin(), some.end());
  FlightSum sum(slots);
  const Attached other(published.directory());
  REQUIRE_FALSE(sum.step(published.publisher(), {}));
  worker.reset();  // abandons its request
  REQUIRE(published.publisher().tick().drained_previous);
  bool done = false;
  for (int steps = 0; steps < 1000 && !done; ++steps)
    done = sum.step(published.publisher(), {});
  REQUIRE(done);
  for (const std::uint64_t count : sum.counts())
    CHECK(count == 0);
}

}  // namespace
