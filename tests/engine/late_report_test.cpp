// Reports that come late, through the library: after the service of the pick has left, and after
// the segment of the pick was replaced, with a pick that somebody has damaged meanwhile.
#include <ballast.h>
#include <doctest/doctest.h>

#include "shm/totals.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

std::uint64_t requests_timed(const Published& published, std::uint64_t record) {
  const auto& segment = published.publisher().segment();
  shm::Latencies latencies = shm::read_latencies(segment.table.carried_services[record]);
  latencies += shm::sum_latencies(segment.workers, record);
  std::uint64_t count = 0;
  for (const std::uint64_t bucket : latencies.buckets)
    count += bucket;
  return count;
}

TEST_CASE("a late report is not the next service's, which gets another record") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  const Attached worker(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", pick) == BALLAST_OK);
  published.apply(settings_of({}));
  published.apply(settings_of({service_of("api", Strategy::maglev, 3, 100)}));
  REQUIRE(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1000) == BALLAST_OK);
  const auto& services = published.publisher().segment().table.services;
  const auto is_live = [&](std::size_t i) {
    return shm::unpack_identity(services[i].identity).phase == shm::Phase::live;
  };
  CHECK_FALSE(is_live(0));
  REQUIRE(is_live(1));
  CHECK(requests_timed(published, 0) == 1);
  CHECK(requests_timed(published, 1) == 0);
}

TEST_CASE("a damaged pick of a replaced segment leads nowhere") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  const Attached worker(published.directory());
  ballast_pick_t held = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", held) == BALLAST_OK);
  const std::uint64_t segment = published.publisher().segment_id();
  const std::uint64_t slots = published.publisher().segment().table.instances.size();
  published.apply(settings_of({service_of("web", Strategy::maglev, 300)}));
  REQUIRE(published.publisher().segment_id() != segment);
  ballast_pick_t other = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", other) == BALLAST_OK);
  REQUIRE(other.segment != held.segment);
  for (const std::uint64_t slot :
       {slots, slots + 1, std::uint64_t{65535}, std::uint64_t{0xffffffff}}) {
    ballast_pick_t damaged = held;
    damaged.slot = static_cast<decltype(damaged.slot)>(slot);
    CHECK(ballast_report(worker.handle, &damaged, BALLAST_SUCCESS, 1000) == BALLAST_WRONG_HANDLE);
  }
  CHECK(ballast_report(worker.handle, &held, BALLAST_SUCCESS, 1000) == BALLAST_OK);
  CHECK(ballast_report(worker.handle, &other, BALLAST_SUCCESS, 1000) == BALLAST_OK);
}

}  // namespace
