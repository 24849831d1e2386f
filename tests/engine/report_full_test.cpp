// What a backend says of its load reaches the word that the checker reads, through the shared
// library; and nothing that it may send does anything else.
#include <ballast.h>
#include <doctest/doctest.h>

#include <ballast.hpp>
#include <chrono>
#include <string>

#include "engine/orca.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::ReportedLoad;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

ReportedLoad load_at(const Published& published, std::uint32_t slot) {
  const auto& record = published.publisher().segment().workers.instances[slot];
  return engine::unpack_reported_load(record.reported_load);
}

std::uint64_t reports_at(const Published& published, std::uint32_t slot) {
  return published.publisher().segment().workers.instances[slot].reports;
}

ballast_result_t result_with(const std::string& load) {
  ballast_result_t result = BALLAST_RESULT_INIT;
  result.outcome = BALLAST_SUCCESS;
  result.latency_us = 1000;
  result.load = load.c_str();
  result.load_length = load.size();
  return result;
}

}  // namespace

TEST_CASE("a report counts as ballast_report()'s, and keeps the load") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", pick) == BALLAST_OK);
  const std::string load = "TEXT cpu_utilization=0.25, rps_fractional=50, eps=1";
  const ballast_result_t result = result_with(load);
  CHECK(ballast_report_full(a.handle, &pick, &result) == BALLAST_OK);
  CHECK(load_at(published, pick.slot) == ReportedLoad{25'000, 500, 20'000});
  CHECK(reports_at(published, pick.slot) == 1);
  CHECK(published.totals(pick.slot).values[shm::kSuccess] == 1);
  CHECK(published.totals(pick.slot).values[shm::kLatencySumUs] == 1000);
  CHECK(published.in_flight() == 0);
  // Once.
  CHECK(ballast_report_full(a.handle, &pick, &result) == BALLAST_ALREADY_REPORTED);
  CHECK(reports_at(published, pick.slot) == 1);
}

TEST_CASE("the last report that can be read stands, whoever brings it") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}));
  const Attached a(published.directory());
  const Attached b(published.directory());
  const auto report = [](const Attached& from, const std::string& load) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(from.pick("k", pick) == BALLAST_OK);
    const ballast_result_t result = result_with(load);
    CHECK(ballast_report_full(from.handle, &pick, &result) == BALLAST_OK);
    return pick.slot;
  };
  const std::uint32_t slot = report(a, "TEXT cpu_utilization=0.1");
  CHECK(load_at(published, slot).utilisation == 10'000);
  report(b, "TEXT cpu_utilization=0.2");
  CHECK(load_at(published, slot).utilisation == 20'000);
  for (const char* bad : {"", "TEXT cpu_utilization=nan", "TEXT cpu_utilization=-1", "JSON {}",
                          "TEXT mem_utilization=0.9"}) {
    report(a, bad);
    CHECK(load_at(published, slot).utilisation == 20'000);
  }
  report(a, std::string(100'000, 'x'));
  CHECK(reports_at(published, slot) == 2);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a report that is not the handle's keeps nothing") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}));
  const Attached a(published.directory());
  const Attached b(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", pick) == BALLAST_OK);
  const std::string load = "TEXT cpu_utilization=0.9";
  ballast_result_t result = result_with(load);
  CHECK(ballast_report_full(b.handle, &pick, &result) == BALLAST_WRONG_HANDLE);
  result.outcome = static_cast<ballast_outcome_t>(9);
  CHECK(ballast_report_full(a.handle, &pick, &result) == BALLAST_INVALID_ARGUMENT);
  CHECK(reports_at(published, pick.slot) == 0);
  CHECK(load_at(published, pick.slot) == ReportedLoad{});
  CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
}

TEST_CASE("arguments that cannot be") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}));
  const Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", pick) == BALLAST_OK);
  ballast_result_t result = BALLAST_RESULT_INIT;
  CHECK(ballast_report_full(nullptr, &pick, &result) == BALLAST_NOT_ATTACHED);
  CHECK(ballast_report_full(a.handle, nullptr, &result) == BALLAST_INVALID_ARGUMENT);
  CHECK(ballast_report_full(a.handle, &pick, nullptr) == BALLAST_INVALID_ARGUMENT);
  result.load_length = 1;
  CHECK(ballast_report_full(a.handle, &pick, &result) == BALLAST_INVALID_ARGUMENT);
  result.load_length = 0;
  result.size -= 1;
  CHECK(ballast_report_full(a.handle, &pick, &result) == BALLAST_INVALID_ARGUMENT);
  result.size += 1;
  CHECK(published.in_flight() == 1);
  CHECK(ballast_report_full(a.handle, &pick, &result) == BALLAST_OK);
  CHECK(published.totals(pick.slot).values[shm::kAbandoned] == 1);
  CHECK(published.totals(pick.slot).values[shm::kLatencyCount] == 0);
}

TEST_CASE("a slot's next tenant does not inherit a load") {
  Published published(settings_of({service_of("web", Strategy::maglev, 2)}));
  const Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", pick) == BALLAST_OK);
  ballast_pick_t stale = pick;
  stale.incarnation += 1;  // as if the slot had been given away since
  const std::string load = "TEXT cpu_utilization=0.9";
  const ballast_result_t result = result_with(load);
  CHECK(ballast_report_full(a.handle, &stale, &result) == BALLAST_OK);
  CHECK(reports_at(published, pick.slot) == 0);
}

TEST_CASE("in C++") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}));
  auto balancer = Balancer::in_directory(published.directory());
  auto web = balancer.service("web");
  Pick pick = web.pick("k");
  REQUIRE(pick);
  const std::uint32_t slot = pick.details().slot;
  CHECK(pick.reason() == Reason::first_choice);
  CHECK(pick.report(Result{.outcome = Outcome::overload,
                           .latency = std::chrono::milliseconds(2),
                           .retry_after = std::chrono::seconds(3),
                           .load = "TEXT application_utilization=1.5"}) == Status::ok);
  CHECK(load_at(published, slot).utilisation == 150'000);
  CHECK(published.totals(slot).values[shm::kOverload] == 1);
  CHECK(published.totals(slot).values[shm::kLatencySumUs] == 2000);
  CHECK(pick.report(Result{}) == Status::already_reported);
}
