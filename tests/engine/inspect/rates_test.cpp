// What two readings of counters come to, and how long requests took, from a live namespace and from
// numbers that do not fit together.
#include "engine/inspect/rates.hpp"

#include <ballast.h>
#include <doctest/doctest.h>

#include "engine/latency_buckets.hpp"
#include "tests/support/published.hpp"

namespace inspect = ballast::inspect;
namespace shm = ballast::shm;
using ballast::engine::Strategy;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

inspect::Snapshot reading(std::uint64_t at_seconds, std::uint64_t started, std::uint64_t failed) {
  inspect::Snapshot s;
  s.read_ns = at_seconds * kSecond;
  inspect::ServiceView service;
  service.name = "checkout";
  inspect::InstanceView instance;
  instance.address = "127.0.0.1:80";
  instance.state.incarnation = 3;
  instance.counters[shm::kStarted] = started;
  instance.counters[shm::kTimeout] = failed;
  instance.counters[shm::kLatencySumUs] = started * 1000;
  instance.counters[shm::kLatencyCount] = started;
  service.instances.push_back(instance);
  service.latencies.buckets[3] = started;
  service.latencies.sum_us = started * 1000;
  s.services.push_back(service);
  return s;
}

}  // namespace

TEST_CASE("quantiles are the upper ends of buckets") {
  shm::Latencies l;
  CHECK_FALSE(inspect::quantile_us(l, 0.5));
  l.buckets[0] = 1;
  CHECK(inspect::quantile_us(l, 0) == 100U);
  CHECK(inspect::quantile_us(l, 1) == 100U);
  l.buckets[5] = 98;
  l.buckets[27] = 1;
  CHECK(inspect::count_of(l) == 100);
  CHECK(inspect::quantile_us(l, 0.01) == 100U);
  CHECK(inspect::quantile_us(l, 0.5) == 2'500U);
  CHECK(inspect::quantile_us(l, 0.99) == 2'500U);
  CHECK(inspect::quantile_us(l, 0.999) == inspect::kBeyondUs);
  // Damaged counts give a number, whichever.
  l.buckets.fill(UINT64_MAX);
  static_cast<void>(inspect::quantile_us(l, 0.5));
}

TEST_CASE("a rate is what was added in the time between") {
  const auto before = reading(10, 1000, 10);
  auto now = reading(14, 1400, 12);
  inspect::add_rates(before, now);
  CHECK(now.over_ns == 4 * kSecond);
  REQUIRE(now.services[0].rate);
  CHECK(now.services[0].rate->started == 100);
  CHECK(now.services[0].rate->failed == 0.5);
  CHECK(inspect::count_of(now.services[0].latencies) == 400);
  CHECK(now.services[0].latencies.sum_us == 400'000);
  REQUIRE(now.services[0].instances[0].rate);
  CHECK(now.services[0].instances[0].rate->latency_count == 400);
}

TEST_CASE("what was not there before, or does not fit, has no rate") {
  const auto before = reading(10, 1000, 10);
  auto other_tenant = reading(14, 1400, 12);
  other_tenant.services[0].instances[0].state.incarnation = 4;
  inspect::add_rates(before, other_tenant);
  CHECK_FALSE(other_tenant.services[0].instances[0].rate);
  CHECK(other_tenant.services[0].rate->started == 0);

  auto backwards = reading(14, 5, 0);
  inspect::add_rates(before, backwards);
  CHECK_FALSE(backwards.services[0].rate);
  CHECK_FALSE(backwards.services[0].instances[0].rate);
  CHECK(inspect::count_of(backwards.services[0].latencies) == 5);

  auto earlier = reading(9, 1400, 12);
  inspect::add_rates(before, earlier);
  CHECK(earlier.over_ns == 0);
  CHECK_FALSE(earlier.services[0].rate);

  auto renamed = reading(14, 1400, 12);
  renamed.services[0].name = "basket";
  inspect::add_rates(before, renamed);
  CHECK_FALSE(renamed.services[0].rate);
}

TEST_CASE("what workers report is in the next reading") {
  const ballast::tests::Published published(
      ballast::tests::settings_of({ballast::tests::service_of("one", Strategy::maglev, 1),
                                   ballast::tests::service_of("two", Strategy::maglev, 1, 10)}));
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  const std::string directory = published.directory();
  options.directory = directory.c_str();
  ballast_t* handle = nullptr;
  REQUIRE(ballast_attach(&options, &handle) == BALLAST_OK);
  ballast_service_t service = 0;
  REQUIRE(ballast_find_service(handle, "two", &service) == BALLAST_OK);
  const auto before = inspect::read_snapshot(directory);
  REQUIRE(before);
  for (int key = 0; key < 10; ++key) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(ballast_pick(handle, service, &key, sizeof key, nullptr, &pick) == BALLAST_OK);
    REQUIRE(ballast_report(handle, &pick, key < 2 ? BALLAST_TIMEOUT : BALLAST_SUCCESS, 1'200) ==
            BALLAST_OK);
  }
  auto now = inspect::read_snapshot(directory);
  ballast_detach(handle);
  REQUIRE(now);
  REQUIRE(now->services.size() == 2);
  CHECK(inspect::count_of(now->services[0].latencies) == 0);
  CHECK(inspect::count_of(now->services[1].latencies) == 10);
  CHECK(inspect::quantile_us(now->services[1].latencies, 0.5) == 1'500U);
  inspect::add_rates(*before, *now);
  REQUIRE(now->services[1].rate);
  const double seconds = static_cast<double>(now->over_ns) / 1e9;
  CHECK(now->services[1].rate->started * seconds == doctest::Approx(10));
  CHECK(now->services[1].rate->failed * seconds == doctest::Approx(2));
  CHECK(now->services[0].rate->started == 0);
}
