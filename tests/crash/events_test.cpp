// Death and standstill in the middle of a record: a worker between its ticket, its claim, the
// fields and the commit. What is read of the ring is whole, the next writer goes round the place,
// and once the dead one is reaped its place is used again. A stopped one finishes when it goes on.
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/checker/publishing/publisher.hpp"
#include "engine/handle.hpp"
#include "shm/event_ring.hpp"
#include "tests/crash/points.hpp"
#include "tests/support/published.hpp"

namespace ballast::crash {
namespace {

using shm::EventKind;

constexpr int kInstances = 4;
constexpr int kOpened = kInstances - 1;  // the budget never lets the last one go
constexpr const char* kPoints[] = {"event.ticket", "event.claimed", "event.filled"};

checker::Settings settings() {
  checker::ServiceSettings web = tests::service_of("web", engine::Strategy::maglev, kInstances);
  web.policy.breaker_consecutive = 1;
  web.policy.breaker_rate_percent = 0;
  web.policy.max_ejected_percent = 100;
  return tests::settings_of({web}, 8);
}

// A worker whose requests all fail, each of which opens a breaker.
void fail_everywhere(const std::string& directory) {
  auto handle = engine::Handle::attach(directory);
  if (!handle) give_up(handle.error().to_text());
  ballast_service_t service = 0;
  if ((*handle)->find_service("web", service) != BALLAST_OK) give_up("no service");
  for (int i = 0; i < 40; ++i) {
    const std::string key = "key" + std::to_string(i);
    ballast_pick_t pick = BALLAST_PICK_INIT;
    if ((*handle)->pick(service, key.data(), key.size(), pick) != BALLAST_OK) continue;
    static_cast<void>((*handle)->report(pick, BALLAST_TIMEOUT, 1));
  }
}

std::vector<shm::Event> events_of(const tests::Published& published) {
  const auto ring = shm::event_ring_of(published.publisher().segment().workers);
  shm::EventReader reader(shm::EventRing{ring.next, ring.records});
  std::vector<shm::Event> events;
  for (const shm::EventWords& words : reader.look())
    events.push_back(shm::unpack_event(words));
  return events;
}

std::uint64_t claimed(const tests::Published& published) {
  std::uint64_t count = 0;
  for (const shm::EventRecord& record : published.publisher().segment().workers.events)
    count += shm::is_event_claim(record.commit.load(std::memory_order_relaxed)) ? 1 : 0;
  return count;
}

// Everything that is read is what a worker writes.
void check_whole(const std::vector<shm::Event>& events, std::uint64_t pid) {
  for (const shm::Event& event : events) {
    CHECK(event.kind == EventKind::breaker_opened);
    CHECK(event.by == shm::EventBy::worker);
    CHECK(event.service == "web");
    CHECK(event.endpoint.to_text().starts_with("127.1.0."));
    CHECK(event.time_ns != 0);
    CHECK((pid == 0 || shm::event_low(event.id) == pid));
    CHECK(event.reason == BALLAST_TIMEOUT);
    CHECK(event.to == static_cast<unsigned>(engine::BreakerState::open));
  }
}

void tick_for_a_second(tests::Published& published) {
  for (int i = 0; i < 12; ++i)
    static_cast<void>(published.publisher().tick());
}

}  // namespace

TEST_CASE("breakers that a worker opens are in the recorder, by its pid") {
  tests::Published published(settings());
  const Ended ended = run_child({}, [&] { fail_everywhere(published.directory()); });
  CHECK(ended.exit_code == 0);
  const auto events = events_of(published);
  CHECK(events.size() == kOpened);
  check_whole(events, static_cast<std::uint64_t>(ended.pid));
}

TEST_CASE("killed at any point of its second record") {
  for (const char* point : kPoints) {
    CAPTURE(point);
    tests::Published published(settings());
    const Ended ended = run_child({point, 2}, [&] { fail_everywhere(published.directory()); });
    REQUIRE(ended.killed);
    check_whole(events_of(published), static_cast<std::uint64_t>(ended.pid));
    CHECK(events_of(published).size() == 1);
    // Who comes next goes round it; nobody waits.
    const Ended next = run_child({}, [&] { fail_everywhere(published.directory()); });
    CHECK(next.exit_code == 0);
    check_whole(events_of(published), 0);
    CHECK(events_of(published).size() == kOpened - 1);  // one was opened and never told
    tick_for_a_second(published);
    CHECK(claimed(published) == 0);
  }
}

TEST_CASE("one that stands still keeps its place, and finishes when it goes on") {
  tests::Published published(settings());
  const Ended stopped =
      run_child({"event.claimed", 2, SIGSTOP}, [&] { fail_everywhere(published.directory()); });
  REQUIRE(stopped.stopped);
  tick_for_a_second(published);
  CHECK(claimed(published) == 1);
  CHECK(events_of(published).size() == 1);
  const Ended ended = resume(stopped.pid);
  CHECK(ended.exit_code == 0);
  CHECK(claimed(published) == 0);
  const auto events = events_of(published);
  CHECK(events.size() == kOpened);
  check_whole(events, static_cast<std::uint64_t>(stopped.pid));
}

TEST_CASE("a checker that is killed while it records leaves the ring to the next one") {
  for (const char* point : kPoints) {
    CAPTURE(point);
    tests::Published published(settings());
    published.leave();
    const Ended ended = run_child({point, 2}, [&] {
      auto lease = shm::Lease::acquire(published.directory(), shm::Lease::Wait::no);
      if (!lease) give_up(lease.error().to_text());
      auto publisher = checker::Publisher::open(std::move(*lease), settings());
      if (!publisher) give_up(publisher.error().to_text());
      checker::Settings next = settings();
      for (auto& instance : next.services[0].instances)
        instance.weight = 2;
      if (const shm::Status applied = publisher->apply(next); !applied)
        give_up(applied.error().to_text());
    });
    REQUIRE(ended.killed);
    published.restart();
    const auto& records = published.publisher().segment().table.events;
    for (const shm::EventRecord& record : records)
      CHECK_FALSE(shm::is_event_claim(record.commit.load(std::memory_order_relaxed)));
    const auto ring = shm::event_ring_of(published.publisher().segment().table);
    shm::EventReader reader(shm::EventRing{ring.next, ring.records});
    std::size_t back = 0;
    for (const shm::EventWords& words : reader.look()) {
      const shm::Event event = shm::unpack_event(words);
      CHECK(event.kind == EventKind::weight_changed);
      if (event.value == shm::pack_event_pair(2, 1)) ++back;
    }
    CHECK(back == kInstances);
  }
}

}  // namespace ballast::crash
