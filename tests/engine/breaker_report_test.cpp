// From a worker's reports to its picks: which outcomes open a breaker and when, by the policy that
// is published at the time, through a handle with a clock of the test's own.
#include "engine/breaker_report.hpp"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/handle.hpp"
#include "tests/support/moved_clock.hpp"
#include "tests/support/published.hpp"
#include "tests/support/sticky_key.hpp"

using namespace ballast;
using tests::Published;

namespace {

engine::Policy policy_of(std::uint32_t consecutive, std::uint32_t rate_percent) {
  engine::Policy policy;
  policy.breaker_consecutive = consecutive;
  policy.breaker_rate_percent = rate_percent;
  policy.breaker_requests = 40;
  policy.breaker_window_ms = 600'000;
  policy.breaker_open_ms = 1'000'000;
  policy.breaker_open_max_ms = 1'000'000;
  return policy;
}

checker::Settings settings(int instances, const engine::Policy& policy) {
  auto service = tests::service_of("web", engine::Strategy::maglev, instances);
  service.policy = policy;
  return tests::settings_of({service});
}

struct Worker {
  explicit Worker(const std::string& directory) {
    auto attached = engine::Handle::attach(directory);
    REQUIRE(attached);
    handle = std::move(*attached);
    handle->set_clock(tests::moved_ms);
    REQUIRE(handle->find_service("web", service) == BALLAST_OK);
  }

  ballast_pick_t pick() {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(handle->pick(service, "key", 3, pick) == BALLAST_OK);
    return pick;
  }
  // Whether the pick was at home; then it ends so.
  bool send(ballast_outcome_t outcome, std::uint32_t retry_after_ms = 0) {
    ballast_pick_t picked = pick();
    ballast_result_t result = BALLAST_RESULT_INIT;
    result.outcome = outcome;
    result.retry_after_ms = retry_after_ms;
    REQUIRE(handle->report_full(picked, result) == BALLAST_OK);
    return picked.reason == BALLAST_FIRST_CHOICE;
  }
  // Says nothing about the instance.
  bool is_at_home() { return send(BALLAST_CANCELLED); }

  std::unique_ptr<engine::Handle> handle;
  ballast_service_t service = 0;
};

}  // namespace

TEST_CASE("each outcome that is a failure opens it, in a row or mixed, no other does") {
  for (const auto outcome :
       {BALLAST_CONNECT_FAILURE, BALLAST_TIMEOUT, BALLAST_RESET, BALLAST_SERVER_ERROR}) {
    Published published(settings(10, policy_of(3, 0)));
    Worker worker(published.directory());
    for (int i = 0; i < 3; ++i)
      CHECK(worker.send(outcome));
    CHECK_FALSE(worker.is_at_home());
  }
  for (const auto outcome :
       {BALLAST_SUCCESS, BALLAST_OVERLOAD, BALLAST_CANCELLED, BALLAST_ABANDONED}) {
    Published published(settings(10, policy_of(1, 0)));
    Worker worker(published.directory());
    for (int i = 0; i < 10; ++i)
      CHECK(worker.send(outcome));
  }
}

TEST_CASE("what the policy calls a failure is one, from the next publication on") {
  engine::Policy policy = policy_of(2, 0);
  Published published(settings(10, policy));
  Worker worker(published.directory());
  policy.breaker_outcomes = 1U << BALLAST_CANCELLED;
  published.apply(settings(10, policy));
  CHECK(worker.send(BALLAST_RESET));
  CHECK(worker.send(BALLAST_RESET));
  CHECK(worker.send(BALLAST_CANCELLED));
  CHECK(worker.send(BALLAST_SERVER_ERROR));  // it answers, so it starts the count over
  CHECK(worker.send(BALLAST_CANCELLED));
  CHECK(worker.send(BALLAST_CANCELLED));
  CHECK_FALSE(worker.send(BALLAST_SUCCESS));
}

TEST_CASE("an overload opens it for as long as it asks, and a trial closes it") {
  Published published(settings(10, policy_of(5, 85)));
  Worker worker(published.directory());
  CHECK(worker.send(BALLAST_OVERLOAD, 500'000));
  CHECK_FALSE(worker.is_at_home());
  tests::move_clock(400'000);
  CHECK_FALSE(worker.is_at_home());
  tests::move_clock(200'000);
  ballast_pick_t trial = worker.pick();
  CHECK(trial.reason == BALLAST_TRIAL);
  CHECK_FALSE(worker.is_at_home());
  CHECK(worker.handle->report(trial, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(worker.is_at_home());
}

TEST_CASE("a trial says that it is one, whether a sticky token was honoured by it or lost") {
  const tests::StickyKeyFile key;
  Published published(tests::with_sticky_keys(settings(10, policy_of(5, 0)), key));
  Worker worker(published.directory());
  std::array<char, engine::kStickyText> token{};
  ballast_pick_t first = worker.pick();
  REQUIRE(worker.handle->sticky_token(worker.service, first, token) == BALLAST_OK);
  REQUIRE(worker.handle->report(first, BALLAST_SUCCESS, 1) == BALLAST_OK);
  const auto reason_with = [&](std::string_view sticky, ballast_outcome_t outcome) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(worker.handle->pick_wishing(worker.service, "key", 3, {{}, sticky}, pick) ==
            BALLAST_OK);
    ballast_result_t result = BALLAST_RESULT_INIT;
    result.outcome = outcome;
    result.retry_after_ms = outcome == BALLAST_OVERLOAD ? 500'000 : 0;
    REQUIRE(worker.handle->report_full(pick, result) == BALLAST_OK);
    return std::pair(static_cast<int>(pick.reason), pick.slot == first.slot);
  };
  const std::string_view good(token.data(), token.size());
  for (const std::string_view sticky : {good, std::string_view("no token of ours")}) {
    const int usual = sticky == good ? BALLAST_STICKY : BALLAST_STICKY_LOST;
    CHECK(reason_with(sticky, BALLAST_OVERLOAD) == std::pair(usual, true));
    CHECK(reason_with(sticky, BALLAST_CANCELLED) == std::pair(int{BALLAST_STICKY_LOST}, false));
    tests::move_clock(600'000);
    CHECK(reason_with(sticky, BALLAST_SUCCESS) == std::pair(int{BALLAST_TRIAL}, true));
    CHECK(reason_with(sticky, BALLAST_SUCCESS) == std::pair(usual, true));
  }
}

TEST_CASE("the rate counts successes that reports bring in eight at a time") {
  Published published(settings(10, policy_of(0, 50)));
  Worker worker(published.directory());
  // One in three fails: never.
  for (int i = 0; i < 600; ++i)
    CHECK(worker.send(i % 3 == 0 ? BALLAST_TIMEOUT : BALLAST_SUCCESS));
  // Two in three, until half of all that the window holds have failed: 200 of 600 before, and 400
  // of another 600.
  int more = 0;
  while (worker.send(more % 3 == 0 ? BALLAST_SUCCESS : BALLAST_TIMEOUT))
    ++more;
  CHECK(more > 500);
  CHECK(more < 700);
}

TEST_CASE("the last instance, and more than the budget, stay in") {
  Published alone(settings(1, policy_of(1, 0)));
  Worker worker(alone.directory());
  for (int i = 0; i < 10; ++i)
    CHECK(worker.send(BALLAST_RESET));

  Published published(settings(10, policy_of(1, 0)));  // one of ten may be out
  Worker another(published.directory());
  for (int key = 0; key < 200; ++key) {
    const std::string text = "key" + std::to_string(key);
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(another.handle->pick(another.service, text.data(), text.size(), pick) == BALLAST_OK);
    CHECK(another.handle->report(pick, BALLAST_RESET, 1) == BALLAST_OK);
  }
  const auto& segment = published.publisher().segment();
  int out = 0;
  for (const auto& p : published.publisher().instances())
    out += engine::is_out(segment.workers.breakers[p.slot], p.incarnation) ? 1 : 0;
  CHECK(out == 1);
}

TEST_CASE("with no limit set nothing is fed") {
  Published published(settings(10, policy_of(0, 0)));
  Worker worker(published.directory());
  for (int i = 0; i < 100; ++i)
    CHECK(worker.send(BALLAST_RESET));
  const auto slot = worker.pick().slot;
  const auto& workers = published.publisher().segment().workers;
  CHECK(workers.instances[slot].window.load(std::memory_order_relaxed) == 0);
}
