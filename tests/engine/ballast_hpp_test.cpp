// The C++ wrapper: what it owns, and that a pick left lying counts as abandoned.
#include <doctest/doctest.h>
#include <ballast.hpp>

#include <string>
#include <type_traits>

#include "tests/support/published.hpp"

using namespace ballast;
using tests::Published;

static_assert(!std::is_copy_constructible_v<Pick> && std::is_nothrow_move_constructible_v<Pick>);
static_assert(!std::is_copy_constructible_v<Balancer>);

TEST_CASE("a pick unreported at the end of its scope counts as abandoned") {
  Published published(tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 5)}));
  auto balancer = Balancer::in_directory(published.directory());
  auto web = balancer.service("web");
  std::uint32_t slot = 0;
  {
    const Pick pick = web.pick("key");
    REQUIRE(pick);
    slot = pick.details().slot;
    CHECK(published.totals(slot).in_flight() == 1);
  }
  CHECK(published.totals(slot).in_flight() == 0);
  CHECK(published.totals(slot).values[shm::kAbandoned] == 1);
  {
    Pick pick = web.pick("key");
    CHECK(pick.report(Outcome::success, std::chrono::milliseconds(3)) == Status::ok);
    CHECK(pick.report(Outcome::success) == Status::already_reported);
  }
  CHECK(published.totals(slot).values[shm::kSuccess] == 1);
  CHECK(published.totals(slot).values[shm::kAbandoned] == 1);
  CHECK(published.totals(slot).values[shm::kLatencySumUs] == 3000);
}

TEST_CASE("a latency below 0 is not known, and counts as none") {
  Published published(tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 1)}));
  auto balancer = Balancer::in_directory(published.directory());
  auto web = balancer.service("web");
  Pick pick = web.pick("key");
  REQUIRE(pick.report(Outcome::success, std::chrono::microseconds(-1)) == Status::ok);
  const auto& segment = published.publisher().segment();
  const auto totals = shm::sum_rows(segment.workers, pick.details().slot);
  CHECK(totals.values[shm::kSuccess] == 1);
  CHECK(totals.values[shm::kLatencyCount] == 0);
}

TEST_CASE("a moved pick is reported once") {
  Published published(tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 5)}));
  auto balancer = Balancer::in_directory(published.directory());
  auto web = balancer.service("web");
  {
    Pick first = web.pick("a");
    const Pick second = std::move(first);
    CHECK(second);
    CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): says that it holds nothing
    CHECK(published.in_flight() == 1);
    first = web.pick("b");
    CHECK(published.in_flight() == 2);
    first = web.pick("c");  // what it held is abandoned
    CHECK(published.in_flight() == 2);
  }
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a retry goes elsewhere") {
  Published published(tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 2)}));
  auto balancer = Balancer::in_directory(published.directory());
  auto web = balancer.service("web");
  const Pick first = web.pick("key");
  const Pick second = web.retry("key", first);
  REQUIRE(second);
  CHECK(first.address() != second.address());
  const Pick third = web.retry("key", {&first, &second});
  CHECK_FALSE(third);
  CHECK(third.status() == Status::no_instance);
  const Pick* const p = &first;
  const Pick fourth = web.retry("key", {p, p, p, p, p, p, p, p, p, p, p, p, p, p, p, p, p});
  CHECK(fourth.status() == Status::invalid_argument);
  CHECK(std::string(to_text(third.status())).find("no instance") == 0);
  sockaddr_storage address{};
  CHECK(second.sockaddr(address) > 0);
  CHECK(third.sockaddr(address) == 0);
}

TEST_CASE("outcomes and reasons have names") {
  CHECK(to_text(Outcome::connect_failure) == std::string("connect_failure"));
  CHECK(to_text(Outcome::abandoned) == std::string("abandoned"));
  CHECK(to_text(Reason::first_choice) == std::string("first_choice"));
  CHECK(to_text(Reason::moved_unusable) == std::string("moved_unusable"));
  CHECK(to_text(Reason::moved_excluded) == std::string("moved_excluded"));
  CHECK(to_text(Reason::moved_breaker) == std::string("moved_breaker"));
  CHECK(to_text(Reason::moved_load) == std::string("moved_load"));
  CHECK(to_text(Reason::sticky) == std::string("sticky"));
  CHECK(to_text(Reason::sticky_lost) == std::string("sticky_lost"));
  CHECK(to_text(Reason::panic) == std::string("panic"));
  CHECK(to_text(Reason::trial) == std::string("trial"));
  CHECK(to_text(static_cast<Reason>(9)) == std::string("unknown"));
  CHECK(ballast_reason_text(static_cast<ballast_reason_t>(15)) == std::string("unknown"));
  CHECK(ballast_outcome_text(static_cast<ballast_outcome_t>(9)) == std::string("unknown"));
}

TEST_CASE("setting up throws what to do, and a balancer moves") {
  CHECK_THROWS_AS(static_cast<void>(Balancer::in_directory("/nonexistent/ballast")), Error);
  try {
    const auto none = Balancer::in_directory("/nonexistent/ballast");
  } catch (const Error& e) {
    CHECK(e.status() == Status::not_found);
    CHECK(std::string(e.what()).find("/nonexistent/ballast") != std::string::npos);
  }
  Published published(tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 2)}));
  auto one = Balancer::in_directory(published.directory());
  const auto two = std::move(one);
  CHECK_THROWS_AS(static_cast<void>(one.service("web")), Error);
  CHECK(two.info().segment == published.publisher().segment_id());
  CHECK(two.warning().empty());
}
