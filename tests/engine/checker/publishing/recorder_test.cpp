// What the checker writes into the flight recorder: every transition once, in the ring and to the
// log alike, with who brought it about; through growth, and through checkers that follow each
// other. What happens to whom is read from the mapped ring, as a tool would.
#include "engine/checker/publishing/recorder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/checker/publishing/changes.hpp"
#include "engine/inspect/event_text.hpp"
#include "tests/support/hand_worker.hpp"
#include "tests/support/published.hpp"

namespace ballast::checker {
namespace {

using shm::EventBy;
using shm::EventKind;
using tests::Published;
using tests::service_of;
using tests::settings_of;

template <class View>
std::vector<shm::Event> read_ring(const View& view) {
  const auto ring = shm::event_ring_of(view);
  shm::EventReader reader(shm::EventRing{ring.next, ring.records});
  std::vector<shm::Event> events;
  for (const shm::EventWords& words : reader.look())
    events.push_back(shm::unpack_event(words));
  return events;
}
std::vector<shm::Event> table_events(const Publisher& publisher) {
  return read_ring(publisher.segment().table);
}

std::vector<shm::Event> of_kind(const std::vector<shm::Event>& events, EventKind kind) {
  std::vector<shm::Event> some;
  std::copy_if(events.begin(), events.end(), std::back_inserter(some),
               [&](const shm::Event& event) { return event.kind == kind; });
  return some;
}

Settings three_of(const char* service = "web") {
  return settings_of({service_of(service, engine::Strategy::maglev, 3)});
}

}  // namespace

TEST_CASE("a namespace that is just made has no history") {
  Published published(three_of());
  CHECK(table_events(published.publisher()).empty());
}

TEST_CASE("changes of the settings are recorded, with who brought them about") {
  Published published(three_of());
  std::vector<Transition> told;
  published.publisher().set_transition_sink([&](const Transition& t) { told.push_back(t); });
  Settings next = settings_of({service_of("web", engine::Strategy::round_robin, 4),
                               service_of("other", engine::Strategy::maglev, 2, 100)});
  next.cause = EventBy::operators;
  auto& instances = next.services[0].instances;
  instances[0].admin = shm::Admin::drain;
  instances[0].admin_by = EventBy::operators;
  instances[1].weight = 7;
  instances[3].named_by = EventBy::discovery;
  const shm::Endpoint gone = instances[2].endpoint;
  instances.erase(instances.begin() + 2);
  published.apply(next);

  const auto events = table_events(published.publisher());
  CHECK(events.size() == 6);
  CHECK(told.size() == 6);
  for (std::size_t i = 0; i < std::min(events.size(), told.size()); ++i)
    CHECK(told[i].event == events[i]);

  const auto admin = of_kind(events, EventKind::admin_changed);
  REQUIRE(admin.size() == 1);
  CHECK(admin[0].by == EventBy::operators);
  CHECK(admin[0].from == static_cast<unsigned>(shm::Admin::ready));
  CHECK(admin[0].to == static_cast<unsigned>(shm::Admin::drain));
  CHECK(admin[0].endpoint == instances[0].endpoint);
  CHECK(admin[0].service == "web");
  CHECK(admin[0].time_ns != 0);

  const auto weight = of_kind(events, EventKind::weight_changed);
  REQUIRE(weight.size() == 1);
  CHECK(weight[0].by == EventBy::config);
  CHECK(weight[0].value == shm::pack_event_pair(1, 7));

  const auto added = of_kind(events, EventKind::instance_added);
  REQUIRE(added.size() == 1);
  CHECK(added[0].by == EventBy::discovery);
  const auto removed = of_kind(events, EventKind::instance_removed);
  REQUIRE(removed.size() == 1);
  CHECK(removed[0].by == EventBy::operators);
  CHECK(removed[0].endpoint == gone);

  const auto service = of_kind(events, EventKind::service_added);
  REQUIRE(service.size() == 1);
  CHECK(service[0].service == "other");
  CHECK(service[0].value == 2);
  CHECK(of_kind(events, EventKind::strategy_changed).size() == 1);
}

TEST_CASE("an operator's value that is given back is the operator's doing, too") {
  Settings drained = three_of();
  drained.services[0].instances[0].admin = shm::Admin::drain;
  drained.services[0].instances[0].admin_by = EventBy::operators;
  Published published(drained);
  Settings ready = three_of();
  ready.cause = EventBy::operators;
  published.apply(ready);
  const auto events = table_events(published.publisher());
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == EventKind::admin_changed);
  CHECK(events[0].by == EventBy::operators);
}

TEST_CASE("a service that goes is one event, with how many it had") {
  Published published(settings_of({service_of("a", engine::Strategy::maglev, 3),
                                   service_of("b", engine::Strategy::maglev, 5, 50)}));
  published.apply(settings_of({service_of("a", engine::Strategy::maglev, 3)}));
  const auto events = table_events(published.publisher());
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == EventKind::service_removed);
  CHECK(events[0].service == "b");
  CHECK(events[0].value == 5);
}

TEST_CASE("a flood of members does not wash out what was before") {
  Settings few = three_of();
  few.max_events = 4096;
  Published published(few);
  Settings many = settings_of({service_of("web", engine::Strategy::maglev, 3000)});
  published.apply(many);
  const auto events = table_events(published.publisher());
  CHECK(of_kind(events, EventKind::instance_added).size() == kNamedChanges);
  const auto more = of_kind(events, EventKind::members_changed);
  REQUIRE(more.size() == 1);
  CHECK(shm::event_low(more[0].value) == 2997 - kNamedChanges);
  CHECK(of_kind(events, EventKind::segment_grown).size() == 1);
}

TEST_CASE("history goes along when the segment grows") {
  Published published(three_of());
  Settings next = three_of();
  next.services[0].instances[0].weight = 9;
  published.apply(next);
  // As a worker would write it, and one that only does so while the old segment is drained.
  const auto old_ring = shm::event_ring_of(published.publisher().segment().workers);
  shm::Event opened;
  opened.kind = EventKind::breaker_opened;
  opened.by = EventBy::worker;
  opened.service = "web";
  opened.time_ns = 5;
  CHECK(shm::write_event(old_ring, {0, 1}, shm::pack(opened)));
  // A worker that stays in the old segment, so that it is drained for a while.
  tests::HandWorker worker(published.publisher().segment());
  published.apply(settings_of({service_of("web", engine::Strategy::maglev, 3000)}));
  const auto events = table_events(published.publisher());
  CHECK(of_kind(events, EventKind::weight_changed).size() >= 1);
  CHECK(read_ring(published.publisher().segment().workers).size() == 1);
  opened.time_ns = 6;
  CHECK(shm::write_event(old_ring, {0, 1}, shm::pack(opened)));
  static_cast<void>(published.publisher().tick());
  const auto carried = read_ring(published.publisher().segment().workers);
  REQUIRE(carried.size() == 2);
  CHECK(carried[1].time_ns == 6);

  SUBCASE("a successor takes over what is missing, and nothing twice") {
    opened.time_ns = 7;
    CHECK(shm::write_event(old_ring, {0, 1}, shm::pack(opened)));
    published.restart();
    CHECK(read_ring(published.publisher().segment().workers).size() == 3);
  }
}

TEST_CASE("a successor does not wipe what is new in a ring that has gone round") {
  Published published(three_of());
  const auto old_ring = shm::event_ring_of(published.publisher().segment().workers);
  shm::Event event;
  event.kind = EventKind::breaker_opened;
  event.by = EventBy::worker;
  event.service = "web";
  const auto write = [&](const shm::EventRingWriter& ring, std::uint64_t time_ns) {
    event.time_ns = time_ns;
    REQUIRE(shm::write_event(ring, {0, 1}, shm::pack(event)));
  };
  for (std::uint64_t i = 1; i <= shm::kWorkerEvents; ++i)
    write(old_ring, i);
  tests::HandWorker worker(published.publisher().segment());
  published.apply(settings_of({service_of("web", engine::Strategy::maglev, 3000)}));
  REQUIRE(published.publisher().draining() != nullptr);
  const auto ring = shm::event_ring_of(published.publisher().segment().workers);
  for (std::uint64_t i = 0; i < shm::kWorkerEvents; ++i)
    write(ring, 10'000 + 2 * i);
  write(old_ring, 10'001);  // after the second oldest there is
  published.restart();
  const auto events = read_ring(published.publisher().segment().workers);
  REQUIRE(events.size() == shm::kWorkerEvents);
  std::uint64_t oldest = events.front().time_ns;
  bool is_carried = false;
  for (const shm::Event& one : events) {
    oldest = std::min(oldest, one.time_ns);
    is_carried |= one.time_ns == 10'001;
  }
  CHECK(oldest == 10'001);
  CHECK(is_carried);
}

TEST_CASE("claims of dead checkers and of workers that are gone come free") {
  Published published(three_of());
  const auto& before = published.publisher().segment();
  before.table.events[5].commit.store(shm::event_claim({shm::kCheckerWriter, 77}),
                                      std::memory_order_relaxed);
  before.workers.events[6].commit.store(shm::event_claim({1, 3}), std::memory_order_relaxed);
  before.workers.events[7].commit.store(shm::event_claim({4000, 3}), std::memory_order_relaxed);
  // By a worker gone mad: as of a ticket that nobody has drawn, and in this checker's own name.
  before.workers.events[8].commit.store(shm::event_commit(1'000'000), std::memory_order_relaxed);
  const auto term = static_cast<std::uint32_t>(published.publisher().term());
  before.workers.events[9].commit.store(shm::event_claim({shm::kCheckerWriter, term + 1}),
                                        std::memory_order_relaxed);
  published.restart();
  const auto& table = published.publisher().segment().table.events;
  const auto& workers = published.publisher().segment().workers.events;
  CHECK(table[5].commit.load(std::memory_order_relaxed) == 0);
  CHECK(workers[6].commit.load(std::memory_order_relaxed) == 0);
  for (const std::size_t place : {7, 8, 9})
    CHECK(workers[place].commit.load(std::memory_order_relaxed) == 0);

  // Later too, each place within a few seconds.
  workers[8].commit.store(shm::event_commit(1'000'000), std::memory_order_relaxed);
  workers[1000].commit.store(
      shm::event_claim(
          {shm::kCheckerWriter, static_cast<std::uint32_t>(published.publisher().term())}),
      std::memory_order_relaxed);
  for (int i = 0; i < 10 * static_cast<int>(shm::kWorkerEvents / Recorder::kCleanedPerTurn) + 10;
       ++i)
    static_cast<void>(published.publisher().tick());
  CHECK(workers[8].commit.load(std::memory_order_relaxed) == 0);
  CHECK(workers[1000].commit.load(std::memory_order_relaxed) == 0);
}

TEST_CASE("what changed while nobody was in office is recorded by whoever takes it") {
  Published published(three_of());
  Settings next = settings_of({service_of("web", engine::Strategy::maglev, 4)});
  next.services[0].instances[0].weight = 5;
  published.restart_with(next);
  const auto events = table_events(published.publisher());
  CHECK(of_kind(events, EventKind::instance_added).size() == 1);
  CHECK(of_kind(events, EventKind::weight_changed).size() == 1);
}

}  // namespace ballast::checker
