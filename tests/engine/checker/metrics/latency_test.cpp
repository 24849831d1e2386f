// How long requests took, from a worker's report to the sum over all rows: the bucket, other
// outcomes, growth, the next checker, and another service in the same place.

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "engine/checker/metrics/survey.hpp"
#include "engine/handle.hpp"
#include "engine/latency_buckets.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using checker::Surveyor;
using engine::latency_bucket;
using engine::Strategy;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

class Worker {
 public:
  Worker(const Published& published, const std::string& service) {
    auto attached = engine::Handle::attach(published.directory());
    REQUIRE(attached);
    handle_ = std::move(*attached);
    REQUIRE(handle_->find_service(service, service_) == BALLAST_OK);
  }
  ballast_pick_t pick() {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(handle_->pick(service_, "key", 3, pick) == BALLAST_OK);
    return pick;
  }
  void report(ballast_pick_t pick, std::uint64_t us, ballast_outcome_t outcome = BALLAST_SUCCESS) {
    REQUIRE(handle_->report(pick, outcome, us) == BALLAST_OK);
  }
  void request(std::uint64_t us, ballast_outcome_t outcome = BALLAST_SUCCESS) {
    report(pick(), us, outcome);
  }

 private:
  std::unique_ptr<engine::Handle> handle_;
  ballast_service_t service_ = 0;
};

shm::Latencies latencies(const Published& published, std::size_t service = 0) {
  Surveyor surveyor(published.directory(), 100, {});
  const auto survey = surveyor.survey({});
  REQUIRE_MESSAGE(survey->error.empty(), survey->error);
  REQUIRE(survey->services.size() > service);
  return survey->services[service].latency;
}

std::uint64_t count(const shm::Latencies& latencies) {
  std::uint64_t sum = 0;
  for (const std::uint64_t bucket : latencies.buckets)
    sum += bucket;
  return sum;
}

}  // namespace

TEST_CASE("reports count in their service's buckets") {
  Published published(settings_of(
      {service_of("a", Strategy::maglev, 3), service_of("b", Strategy::round_robin, 3, 100)}));
  Worker a(published, "a");
  Worker b(published, "b");
  a.request(90);
  a.request(3'000);
  a.request(4'000, BALLAST_TIMEOUT);
  a.request(std::uint64_t{1} << 40);  // counted as the longest time that there is
  b.request(10'000);
  // How soon somebody says no tells nothing, and neither does who says nothing.
  a.request(90, BALLAST_CONNECT_FAILURE);
  a.request(90, BALLAST_SERVER_ERROR);
  a.request(BALLAST_NO_LATENCY);
  const auto of_a = latencies(published, 0);
  CHECK(count(of_a) == 4);
  CHECK(of_a.buckets[latency_bucket(90)] == 1);
  CHECK(of_a.buckets[latency_bucket(3'000)] == 2);
  CHECK(of_a.buckets.back() == 1);
  CHECK(of_a.sum_us == std::uint64_t{UINT32_MAX} + 90 + 3'000 + 4'000);
  const auto of_b = latencies(published, 1);
  CHECK(count(of_b) == 1);
  CHECK(of_b.sum_us == 10'000);
}

TEST_CASE("they go on through growth, also for reports of requests begun before, and restarts") {
  Published published(settings_of({service_of("a", Strategy::maglev, 3)}, 4));
  Worker worker(published, "a");
  worker.request(100);
  const ballast_pick_t begun = worker.pick();
  published.apply(settings_of({service_of("a", Strategy::maglev, 300)}, 16));
  CHECK(count(latencies(published)) == 1);
  worker.request(200);  // moves over
  CHECK(count(latencies(published)) == 2);
  worker.report(begun, 300);
  published.publisher().tick();
  CHECK(count(latencies(published)) == 3);
  CHECK(latencies(published).sum_us == 600);
  published.restart();
  CHECK(count(latencies(published)) == 3);
}

TEST_CASE("another service in the same place begins with nothing") {
  Published published(settings_of({service_of("a", Strategy::maglev, 3)}));
  {
    Worker worker(published, "a");
    worker.request(100);
    worker.request(100);
  }
  published.apply(settings_of({service_of("b", Strategy::maglev, 3, 50)}));
  REQUIRE(published.publisher().segment().table.services[0].identity.load(
              std::memory_order_relaxed) != 0);
  CHECK(count(latencies(published)) == 0);
  Worker worker(published, "b");
  worker.request(5'000);
  CHECK(count(latencies(published)) == 1);
  CHECK(latencies(published).sum_us == 5'000);
}
