// Growth seen from the workers: they move to the new segment by themselves, no pick fails, and what
// was in flight in the old one is reported there.
#include <ballast.h>
#include <doctest/doctest.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "shm/host.hpp"
#include "shm/lease.hpp"
#include "shm/paths.hpp"
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

// More rows than there are do not fit, so the publisher makes a new segment.
void grow(Published& published) {
  const auto before = published.publisher().segment_id();
  auto settings = published.settings();
  settings.max_workers =
      static_cast<std::uint32_t>(published.publisher().segment().workers.directory.size() + 1);
  published.apply(settings);
  REQUIRE(published.publisher().segment_id() != before);
}

}  // namespace

TEST_CASE("a pick in flight keeps the old segment until it is reported") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Attached a(published.directory());
  ballast_pick_t old = BALLAST_PICK_INIT;
  REQUIRE(a.pick("key", old) == BALLAST_OK);
  grow(published);
  ballast_pick_t fresh = BALLAST_PICK_INIT;
  REQUIRE(a.pick("key", fresh) == BALLAST_OK);
  CHECK(fresh.segment == published.publisher().segment_id());
  CHECK(fresh.segment != old.segment);
  CHECK(fresh.slot == old.slot);
  CHECK_FALSE(published.publisher().tick().drained_previous);
  CHECK(published.totals(old.slot).in_flight() == 2);
  CHECK(ballast_report(a.handle, &old, BALLAST_TIMEOUT, 5) == BALLAST_OK);
  CHECK(ballast_report(a.handle, &old, BALLAST_TIMEOUT, 5) == BALLAST_ALREADY_REPORTED);
  CHECK(published.publisher().tick().drained_previous);
  CHECK(published.totals(old.slot).in_flight() == 1);
  CHECK(published.totals(old.slot).values[shm::kTimeout] == 1);
  CHECK(ballast_report(a.handle, &fresh, BALLAST_SUCCESS, 5) == BALLAST_OK);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("an instance tried before the growth is not tried again after it") {
  Published published(settings_of({service_of("web", Strategy::maglev, 2)}));
  const Attached a(published.directory());
  for (int i = 0; i < 20; ++i) {
    const std::string key = "key" + std::to_string(i);
    ballast_pick_t first = BALLAST_PICK_INIT;
    REQUIRE(a.pick(key, first) == BALLAST_OK);
    if (i % 5 == 0) grow(published);
    const ballast_pick_t* tried[] = {&first};
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.tried = tried;
    options.tried_count = 1;
    ballast_pick_t second = BALLAST_PICK_INIT;
    REQUIRE(a.pick(key, second, &options) == BALLAST_OK);
    CHECK(std::memcmp(first.address, second.address, sizeof first.address) != 0);
    CHECK(ballast_abandon(a.handle, &first) == BALLAST_OK);
    CHECK(ballast_abandon(a.handle, &second) == BALLAST_OK);
  }
  published.publisher().tick();
  CHECK(published.in_flight() == 0);
}

TEST_CASE("while the new segment cannot be opened, picks go on from the old one") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("key", pick) == BALLAST_OK);
  const std::uint32_t slot = pick.slot;
  CHECK(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  grow(published);
  const std::string table =
      shm::table_path(published.directory(), published.publisher().segment_id());
  REQUIRE(std::rename(table.c_str(), (table + ".hidden").c_str()) == 0);
  for (int i = 0; i < 5000; ++i) {
    REQUIRE(a.pick("key", pick) == BALLAST_OK);
    REQUIRE(pick.slot == slot);
    REQUIRE(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  }
  CHECK(a.info().superseded == 1);
  REQUIRE(ballast_warning(a.handle) != nullptr);
  CHECK(std::string(ballast_warning(a.handle)).find("superseded") != std::string::npos);
  REQUIRE(std::rename((table + ".hidden").c_str(), table.c_str()) == 0);
  int picks = 0;
  for (; picks < 3000 && a.info().superseded == 1; ++picks) {
    REQUIRE(a.pick("key", pick) == BALLAST_OK);
    REQUIRE(ballast_abandon(a.handle, &pick) == BALLAST_OK);
  }
  CHECK(picks < 3000);
  CHECK(ballast_warning(a.handle) == nullptr);
  CHECK(a.info().segment == published.publisher().segment_id());
  CHECK(published.publisher().tick().drained_previous);
  CHECK(published.in_flight() == 0);
  CHECK(published.totals(slot).values[shm::kSuccess] == 5001);
}

TEST_CASE(
    "when the directory was removed and made again, workers find the new files by themselves") {
  Published first(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Attached a(first.directory());
  ballast_pick_t old = BALLAST_PICK_INIT;
  REQUIRE(a.pick("key", old) == BALLAST_OK);
  const auto ms_before = shm::realtime_ns() / 1'000'000;
  REQUIRE(std::filesystem::remove_all(first.directory()) > 0);
  while (shm::realtime_ns() / 1'000'000 == ms_before) {  // ids are unique to the millisecond
  }
  bool gone = false;
  for (int tick = 0; tick < 20 && !gone; ++tick)
    gone = first.publisher().tick().directory_gone;
  REQUIRE(gone);
  // Nobody serves the name yet: picks go on.
  ballast_pick_t pick = BALLAST_PICK_INIT;
  for (int i = 0; i < 3000; ++i) {
    REQUIRE(a.pick("key", pick) == BALLAST_OK);
    REQUIRE(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  }
  CHECK(a.info().superseded == 1);
  auto lease = shm::Lease::acquire(first.directory(), shm::Lease::Wait::no);
  REQUIRE(lease);
  const auto settings = settings_of({service_of("web", Strategy::maglev, 3)});
  auto second = checker::Publisher::open(std::move(*lease), settings);
  REQUIRE(second);
  REQUIRE(second->apply(settings));
  for (int i = 0; i < 3000 && a.info().superseded == 1; ++i) {
    REQUIRE(a.pick("key", pick) == BALLAST_OK);
    REQUIRE(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  }
  CHECK(a.info().superseded == 0);
  CHECK(a.info().segment == second->segment_id());
  // What was picked before is reported where it was counted, and disturbs nothing here.
  CHECK(ballast_report(a.handle, &old, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(shm::sum_rows(second->segment().workers, old.slot).in_flight() == 0);
}

TEST_CASE("when the directory was only away, its segment serves again, and in order") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("key", pick) == BALLAST_OK);
  REQUIRE(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  const std::string locator = shm::locator_path(published.directory());
  REQUIRE(std::rename(locator.c_str(), (locator + ".away").c_str()) == 0);
  bool gone = false;
  for (int tick = 0; tick < 20 && !gone; ++tick)
    gone = published.publisher().tick().directory_gone;
  REQUIRE(gone);
  REQUIRE(a.pick("key", pick) == BALLAST_OK);
  REQUIRE(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(a.info().superseded == 1);
  REQUIRE(std::rename((locator + ".away").c_str(), locator.c_str()) == 0);
  published.publisher().leave();
  auto lease = shm::Lease::acquire(published.directory(), shm::Lease::Wait::no);
  REQUIRE(lease);
  auto second = checker::Publisher::open(std::move(*lease), published.settings());
  REQUIRE(second);
  REQUIRE(second->apply(published.settings()));
  REQUIRE(a.pick("key", pick) == BALLAST_OK);
  REQUIRE(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(a.info().superseded == 0);
  CHECK(ballast_warning(a.handle) == nullptr);
}

TEST_CASE("a service added together with the growth is found") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Attached a(published.directory());
  ballast_service_t late = 0;
  REQUIRE(ballast_find_service(a.handle, "late", &late) == BALLAST_SERVICE_UNKNOWN);
  auto settings = published.settings();
  settings.services.push_back(service_of("late", Strategy::ketama, 500, 100));
  const auto before = published.publisher().segment_id();
  published.apply(settings);
  REQUIRE(published.publisher().segment_id() != before);
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(ballast_pick(a.handle, late, "key", 3, nullptr, &pick) == BALLAST_OK);
  CHECK(pick.segment == published.publisher().segment_id());
}

TEST_CASE("threads pick through growth after growth: nothing fails and every count is right") {
  constexpr int kThreads = 3;
  constexpr int kGrowths = 6;
  Published published(settings_of(
      {service_of("web", Strategy::maglev, 5), service_of("turns", Strategy::round_robin, 5, 50)}));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> picks{0};
  std::atomic<std::uint64_t> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const Attached web(published.directory());
      ballast_service_t turns = 0;
      ballast_find_service(web.handle, "turns", &turns);
      std::deque<ballast_pick_t> in_flight;
      std::uint64_t mine = 0;
      for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        ballast_pick_t pick = BALLAST_PICK_INIT;
        const auto status = ballast_pick(web.handle, i % 2 == 0 ? web.service : turns, &i, sizeof i,
                                         nullptr, &pick);
        if (status != BALLAST_OK) {
          failures.fetch_add(1, std::memory_order_relaxed);
          continue;
        }
        ++mine;
        in_flight.push_back(pick);
        if (in_flight.size() <= static_cast<std::size_t>(8 * (t + 1))) continue;
        if (ballast_report(web.handle, &in_flight.front(), BALLAST_SUCCESS, 1) != BALLAST_OK)
          failures.fetch_add(1, std::memory_order_relaxed);
        in_flight.pop_front();
      }
      for (auto& pick : in_flight) {
        if (ballast_report(web.handle, &pick, BALLAST_SUCCESS, 1) != BALLAST_OK)
          failures.fetch_add(1, std::memory_order_relaxed);
      }
      picks.fetch_add(mine, std::memory_order_relaxed);
    });
  }
  for (int i = 0; i < kGrowths; ++i) {
    grow(published);
    while (!published.publisher().tick().drained_previous)
      std::this_thread::yield();
  }
  stop.store(true, std::memory_order_relaxed);
  for (auto& thread : threads)
    thread.join();
  published.publisher().tick();
  CHECK(failures.load() == 0);
  CHECK(published.in_flight() == 0);
  shm::Totals all;
  for (std::size_t slot = 0; slot < published.publisher().segment().table.instances.size(); ++slot)
    all += published.totals(static_cast<std::uint32_t>(slot));
  CHECK(all.values[shm::kStarted] == picks.load());
  CHECK(all.values[shm::kSuccess] == picks.load());
  CHECK(picks.load() > 0);
}
