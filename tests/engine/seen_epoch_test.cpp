// Through the library: a row says which generation of each service its owner goes by, and nothing
// of a former owner's.
#include <ballast.h>
#include <doctest/doctest.h>

#include <string>

#include "shm/generation.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;

namespace {

checker::Settings two_services(int instances, int more = 0) {
  return tests::settings_of({tests::service_of("web", Strategy::maglev, instances),
                             tests::service_of("api", Strategy::round_robin, 3 + more, 500)});
}

std::uint64_t seen(const Published& published, std::uint64_t row, std::uint64_t service) {
  return published.publisher().segment().workers.row_services(row)[service].seen_epoch.load(
      std::memory_order_acquire);
}

std::uint64_t epoch(const Published& published, std::uint64_t service) {
  return shm::epoch_of(
      published.publisher().segment().table.services[service].root.load(std::memory_order_acquire));
}

void pick_once(const Attached& worker) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", pick) == BALLAST_OK);
  REQUIRE(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, -1) == BALLAST_OK);
}

TEST_CASE("a row says which generation it has read, service by service, when it picks again") {
  Published published(two_services(4));
  const Attached worker(published.directory());
  const std::uint64_t row = worker.info().row;
  const std::uint64_t first = epoch(published, 0);
  CHECK(seen(published, row, 0) == first);
  CHECK(seen(published, row, 1) == 0);  // never asked for
  published.apply(two_services(5));
  REQUIRE(epoch(published, 0) == first + 1);
  CHECK(seen(published, row, 0) == first);
  pick_once(worker);
  CHECK(seen(published, row, 0) == first + 1);
  CHECK(seen(published, row, 1) == 0);

  ballast_service_t api = 0;
  REQUIRE(ballast_find_service(worker.handle, "api", &api) == BALLAST_OK);
  CHECK(seen(published, row, 1) == epoch(published, 1));
  published.apply(two_services(5, 1));
  pick_once(worker);  // of the other service
  CHECK(seen(published, row, 1) == epoch(published, 1) - 1);
}

TEST_CASE("what a former owner of the row has seen is forgotten") {
  Published published(two_services(4));
  std::uint64_t row = 0;
  {
    const Attached worker(published.directory());
    row = worker.info().row;
    CHECK(seen(published, row, 0) != 0);
  }
  const Attached other(published.directory(), "api");
  REQUIRE(other.info().row == row);
  CHECK(seen(published, row, 0) == 0);
  CHECK(seen(published, row, 1) == epoch(published, 1));
}

TEST_CASE("in the segment after a growth, the epoch goes on") {
  Published published(two_services(4));
  const Attached worker(published.directory());
  const std::uint64_t before = epoch(published, 0);
  const std::uint64_t segment = published.publisher().segment_id();
  published.apply(two_services(200));
  REQUIRE(published.publisher().segment_id() != segment);
  CHECK(epoch(published, 0) == before + 1);
  pick_once(worker);
  CHECK(seen(published, worker.info().row, 0) == before + 1);
}

TEST_CASE("a change of administration is a generation of its own") {
  Published published(two_services(4));
  const Attached worker(published.directory());
  const std::uint64_t before = epoch(published, 0);
  checker::Settings settings = two_services(4);
  settings.services[0].instances[1].admin = shm::Admin::drain;
  published.apply(settings);
  CHECK(epoch(published, 0) == before + 1);
  published.apply(settings);
  CHECK(epoch(published, 0) == before + 1);
  pick_once(worker);
  CHECK(seen(published, worker.info().row, 0) == before + 1);
}

}  // namespace
