// How many instances a pick could fall on (ballast_usable): what a server goes by before it gives
// an answer up for a retry. Through the shared library.
#include <ballast.h>
#include <doctest/doctest.h>
#include <ballast.hpp>

#include <array>

#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

TEST_CASE(
    "those that are down do not count, nor those that were tried, and counting ends at the limit") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  Attached a(published.directory());
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 5);
  CHECK(ballast_usable(a.handle, a.service, nullptr, 2) == 2);
  CHECK(ballast_usable(a.handle, a.service, nullptr, 0) == 0);
  published.set_usable(0, 3, false);
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 4);

  // As many retries succeed as it says.
  std::array<ballast_pick_t, 5> picks;
  std::array<const ballast_pick_t*, 5> tried{};
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.tried = tried.data();
  for (std::size_t left = 4; left > 0; --left) {
    CHECK(ballast_usable(a.handle, a.service, &options, 100) == left);
    ballast_pick_t& pick = picks[options.tried_count];
    pick = BALLAST_PICK_INIT;
    REQUIRE(a.pick("key", pick, &options) == BALLAST_OK);
    tried[options.tried_count++] = &pick;
  }
  CHECK(ballast_usable(a.handle, a.service, &options, 100) == 0);
  for (std::size_t i = 0; i < options.tried_count; ++i)
    CHECK(ballast_report(a.handle, &picks[i], BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("open breakers and full instances do not count, and full services have nobody") {
  auto service = service_of("web", Strategy::round_robin, 3);
  service.policy.breaker_consecutive = 2;
  service.policy.max_ejected_percent = 100;
  service.policy.max_in_flight = 1;
  service.policy.service_max_in_flight = 2;
  Published published(settings_of({service}));
  Attached a(published.directory());
  ballast_pick_t failing = BALLAST_PICK_INIT;
  for (int i = 0; i < 2 * 3; ++i) {  // turns: each instance twice, and one of them fails twice
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(a.pick("", pick) == BALLAST_OK);
    if (i == 0) failing = pick;
    CHECK(ballast_report(a.handle, &pick,
                         pick.slot == failing.slot ? BALLAST_RESET : BALLAST_SUCCESS,
                         BALLAST_NO_LATENCY) == BALLAST_OK);
  }
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 2);
  ballast_pick_t first = BALLAST_PICK_INIT;
  ballast_pick_t second = BALLAST_PICK_INIT;
  REQUIRE(a.pick("", first) == BALLAST_OK);
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 1);
  REQUIRE(a.pick("", second) == BALLAST_OK);
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 0);
  CHECK(ballast_report(a.handle, &first, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 1);
  CHECK(ballast_report(a.handle, &second, BALLAST_SUCCESS, 1) == BALLAST_OK);
}

TEST_CASE("where the retry budget is used up a retry has nobody, a first pick has") {
  auto service = service_of("web", Strategy::maglev, 3);
  service.policy.retry_percent = 20;
  service.policy.retry_minimum = 1;
  Published published(settings_of({service}));
  Attached a(published.directory());
  ballast_pick_t first = BALLAST_PICK_INIT;
  ballast_pick_t retry = BALLAST_PICK_INIT;
  REQUIRE(a.pick("key", first) == BALLAST_OK);
  const ballast_pick_t* tried[] = {&first};
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.tried = tried;
  options.tried_count = 1;
  CHECK(ballast_usable(a.handle, a.service, &options, 100) == 2);
  REQUIRE(a.pick("key", retry, &options) == BALLAST_OK);
  CHECK(ballast_usable(a.handle, a.service, &options, 100) == 0);
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 3);
  CHECK(ballast_report(a.handle, &retry, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(ballast_usable(a.handle, a.service, &options, 100) == 2);
  CHECK(ballast_report(a.handle, &first, BALLAST_SUCCESS, 1) == BALLAST_OK);
}

TEST_CASE("it follows what is published, and there is nobody where nothing can be asked") {
  Published published(settings_of({service_of("web", Strategy::maglev, 2)}));
  Attached a(published.directory());
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 2);
  published.apply(settings_of({service_of("web", Strategy::maglev, 7)}));
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 7);
  published.apply(settings_of({service_of("other", Strategy::maglev, 7)}));
  CHECK(ballast_usable(a.handle, a.service, nullptr, 100) == 0);

  CHECK(ballast_usable(nullptr, 0, nullptr, 100) == 0);
  CHECK(ballast_usable(a.handle, 77, nullptr, 100) == 0);
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.tried_count = 1;
  CHECK(ballast_usable(a.handle, a.service, &options, 100) == 0);
  options = {};
  CHECK(ballast_usable(a.handle, a.service, &options, 100) == 0);
}

TEST_CASE("the same in C++") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  auto balancer = Balancer::in_directory(published.directory());
  Service web = balancer.service("web");
  CHECK(web.usable(100) == 3);
  Pick pick = web.pick("key");
  REQUIRE(pick);
  CHECK(web.usable(100, {&pick}) == 2);
  CHECK(pick.report(Outcome::success) == Status::ok);
}
