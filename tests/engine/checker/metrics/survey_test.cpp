// What a survey says of a published namespace: sums that an instance which leaves takes nothing
// away from, the states, and which instances are shown one by one.
#include "engine/checker/metrics/survey.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "engine/breaker_word.hpp"
#include "engine/coarse_clock.hpp"
#include "shm/row_protocol.hpp"
#include "tests/support/hand_worker.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using checker::InstanceMood;
using checker::Survey;
using checker::Surveyor;
using engine::Strategy;
using tests::HandWorker;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

std::shared_ptr<const Survey> look(Surveyor& surveyor) {
  std::shared_ptr<const Survey> survey = surveyor.survey({});
  REQUIRE_MESSAGE(survey->error.empty(), survey->error);
  return survey;
}

std::uint64_t mood(const Survey& survey, std::size_t service, InstanceMood mood) {
  return survey.services[service].moods[static_cast<std::size_t>(mood)];
}

// A request that ends.
void request(HandWorker& worker, std::uint16_t slot, shm::CounterIndex outcome = shm::kSuccess) {
  worker.start(slot);
  worker.finish(slot, outcome);
}

std::uint64_t picks(const Survey& survey, std::size_t service = 0) {
  return survey.services[service].counters[shm::kStarted];
}

}  // namespace

TEST_CASE("services and their instances") {
  Published published(settings_of({service_of("checkout", Strategy::maglev, 3),
                                   service_of("search", Strategy::ketama, 2, 100)}));
  HandWorker worker(published.publisher().segment());
  Surveyor surveyor(published.directory(), 100, "1.2.3");
  static_cast<void>(look(surveyor));
  const std::uint16_t slot = published.find(0, 1).slot;
  request(worker, slot);
  request(worker, slot, shm::kTimeout);
  worker.start(slot);
  published.set_usable(0, 2, false);
  const auto survey = look(surveyor);
  CHECK(survey->number == 2);
  CHECK(survey->slots_used == 5);
  CHECK(survey->rows_claimed == 1);
  CHECK(survey->head.term == 1);
  REQUIRE(survey->services.size() == 2);
  const auto& checkout = survey->services[0];
  CHECK(checkout.labels == "service=\"checkout\"");
  CHECK(checkout.counters[shm::kStarted] == 3);
  CHECK(checkout.counters[shm::kSuccess] == 1);
  CHECK(checkout.counters[shm::kTimeout] == 1);
  CHECK(checkout.in_flight == 1);
  CHECK(checkout.flips == 1);
  CHECK(mood(*survey, 0, InstanceMood::in_use) == 2);
  CHECK(mood(*survey, 0, InstanceMood::down) == 1);
  CHECK(mood(*survey, 1, InstanceMood::in_use) == 2);
  CHECK(survey->omitted == 0);
  REQUIRE(survey->instances.size() == 5);
  CHECK(survey->instances[1].labels == "service=\"checkout\",instance=\"127.1.0.2:8080\"");
  CHECK(survey->instances[1].view.counters[shm::kStarted] == 3);
  CHECK(survey->process.resident_bytes > 0);
  CHECK(survey->process.descriptor_limit > 0);
}

TEST_CASE("sums begin with the first look, and instances that leave take nothing away") {
  Published published(settings_of({service_of("checkout", Strategy::maglev, 3)}));
  HandWorker worker(published.publisher().segment());
  const std::uint16_t leaver = published.find(0, 2).slot;
  for (int i = 0; i < 10; ++i)
    request(worker, leaver);
  Surveyor surveyor(published.directory(), 100, {});
  CHECK(picks(*look(surveyor)) == 0);
  for (int i = 0; i < 5; ++i)
    request(worker, leaver);
  request(worker, published.find(0, 0).slot);
  CHECK(picks(*look(surveyor)) == 6);
  // One leaves, another comes: what that has counted before anybody looked counts from nothing.
  auto settings = settings_of({service_of("checkout", Strategy::maglev, 2)});
  settings.services[0].instances.push_back(service_of("x", Strategy::maglev, 1, 50).instances[0]);
  published.apply(settings);
  const std::uint16_t comer = published.find(0, 2).slot;
  request(worker, comer);
  request(worker, comer);
  auto survey = look(surveyor);
  CHECK(picks(*survey) == 8);
  CHECK(mood(*survey, 0, InstanceMood::leaving) == 1);
  CHECK(survey->instances.size() == 3);
  // Its slot is free again.
  const auto& table = published.publisher().segment().table;
  const auto identity =
      shm::unpack_identity(table.instances[leaver].identity.load(std::memory_order_relaxed));
  table.instances[leaver].identity.store(shm::pack({identity.incarnation, shm::Phase::free}),
                                         std::memory_order_release);
  survey = look(surveyor);
  CHECK(picks(*survey) == 8);
  CHECK(survey->slots_used == 3);
}

TEST_CASE("a service in the place of another begins with nothing") {
  Published published(settings_of({service_of("a", Strategy::maglev, 1)}));
  HandWorker worker(published.publisher().segment());
  Surveyor surveyor(published.directory(), 100, {});
  static_cast<void>(look(surveyor));
  request(worker, published.find(0, 0).slot);
  CHECK(picks(*look(surveyor)) == 1);
  published.apply(settings_of({service_of("b", Strategy::maglev, 1, 9)}));
  request(worker, published.find(0, 0).slot);
  request(worker, published.find(0, 0).slot);
  const auto survey = look(surveyor);
  REQUIRE(survey->services.size() == 1);
  CHECK(survey->services[0].labels == "service=\"b\"");
  CHECK(picks(*survey) == 2);
}

TEST_CASE("sums go on through growth, and through another checker") {
  Published published(settings_of({service_of("checkout", Strategy::maglev, 2)}, 4));
  Surveyor surveyor(published.directory(), 100, {});
  HandWorker worker(published.publisher().segment());
  static_cast<void>(look(surveyor));
  const std::uint16_t slot = published.find(0, 0).slot;
  request(worker, slot);
  CHECK(picks(*look(surveyor)) == 1);
  const std::uint64_t before = published.publisher().segment_id();
  published.apply(settings_of({service_of("checkout", Strategy::maglev, 300)}, 16));
  REQUIRE(published.publisher().segment_id() != before);
  CHECK(picks(*look(surveyor)) == 1);
  // What is still counted in the old segment comes over with the checker's next look.
  request(worker, slot);
  published.publisher().tick();
  CHECK(picks(*look(surveyor)) == 2);
  published.restart();
  CHECK(picks(*look(surveyor)) == 2);
}

TEST_CASE("beyond the limit only those that are not well are shown, and never more than it") {
  Published published(settings_of({service_of("checkout", Strategy::maglev, 40)}));
  Surveyor surveyor(published.directory(), 20, {});
  auto survey = look(surveyor);
  CHECK(survey->instances.empty());
  CHECK(survey->omitted == 40);
  published.set_usable(0, 7, false);
  survey = look(surveyor);
  REQUIRE(survey->instances.size() == 1);
  CHECK(survey->instances[0].mood == InstanceMood::down);
  CHECK(survey->omitted == 39);
  for (std::size_t i = 0; i < 40; ++i)
    published.set_usable(0, i, false);
  survey = look(surveyor);
  CHECK(survey->instances.size() == 20);
  CHECK(survey->omitted == 20);
  CHECK(mood(*survey, 0, InstanceMood::down) == 40);
}

TEST_CASE("every instance is in one state") {
  auto settings = settings_of({service_of("checkout", Strategy::maglev, 6)});
  settings.services[0].instances[1].admin = shm::Admin::drain;
  settings.services[0].instances[2].admin = shm::Admin::maintenance;
  Published published(settings);
  const auto& workers = published.publisher().segment().workers;
  const auto open = [&](std::size_t i, engine::BreakerState state) {
    const auto& p = published.find(0, i);
    const engine::Breaker breaker{state, 0, 1, engine::tenant_of(p.incarnation),
                                  engine::coarse_ms() + 100'000};
    workers.breakers[p.slot].store(engine::pack(breaker), std::memory_order_relaxed);
  };
  open(3, engine::BreakerState::open);
  open(4, engine::BreakerState::half_open);
  published.set_usable(0, 5, false);
  Surveyor surveyor(published.directory(), 100, {});
  const auto survey = look(surveyor);
  for (const InstanceMood each :
       {InstanceMood::in_use, InstanceMood::drain, InstanceMood::maintenance,
        InstanceMood::breaker_open, InstanceMood::breaker_half_open, InstanceMood::down})
    CHECK_MESSAGE(mood(*survey, 0, each) == 1, to_text(each));
}

TEST_CASE("without a table there is an error to say") {
  const tests::TempDir empty;
  Surveyor surveyor(empty.path(), 100, {});
  const auto survey = surveyor.survey({});
  CHECK_FALSE(survey->error.empty());
  CHECK(survey->services.empty());
}
