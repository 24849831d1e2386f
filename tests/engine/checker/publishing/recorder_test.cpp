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

TEST_CASE("claims of dead checkers and of workers that are gone come free") {
  Published published(three_of());
  const auto& before = published.publisher().segment();
  before.table.events[5].commit.store(shm::event_claim({shm::kCheckerWriter, 77}),
                                      std::memory_order_relaxed);
  before.workers.events[6].commit.store(shm::event_claim({1, 3}), std::memory_order_relaxed);
  before.workers.events[7].commit.store(shm::event_claim({4000, 3}), std::memory_order_relaxed);
  published.restart();
  const auto& table = published.publisher().segment().table.events;
  const auto& workers = published.publisher().segment().workers.events;
  CHECK(table[5].commit.load(std::memory_order_relaxed) == 0);
  CHECK(workers[6].commit.load(std::memory_order_relaxed) == 0);
  CHECK(workers[7].commit.load(std::memory_order_relaxed) == 0);
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
