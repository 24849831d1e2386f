// Events in words: the names of numbers are those that their owners use, and whatever an event is
// made of, there is something to say of it.
#include "engine/inspect/event_text.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "engine/ballast.h"
#include "engine/breaker_word.hpp"
#include "engine/checker/publishing/notice.hpp"
#include "engine/checker/publishing/transition.hpp"
#include "engine/checker/steering/outlier.hpp"

namespace ballast::inspect {
namespace {

using shm::EventKind;

std::string field(const shm::Event& event, const std::string& name) {
  for (const EventField& field : describe(event)) {
    if (field.name == name) return field.text;
  }
  return "(none)";
}

shm::Event event_of(EventKind kind, unsigned reason = 0) {
  shm::Event event;
  event.kind = kind;
  event.by = shm::EventBy::checker;
  event.reason = static_cast<std::uint16_t>(reason);
  event.service = "web";
  return event;
}

}  // namespace

TEST_CASE("names are those of their owners") {
  for (unsigned i = 0; i <= 4; ++i) {
    CHECK(field(event_of(EventKind::instance_ejected, i), "reason") ==
          checker::to_text(static_cast<checker::OutlierReason>(i)));
  }
  for (unsigned i = 0; i <= 2; ++i) {
    CHECK(field(event_of(EventKind::instance_taken_back, i), "because") ==
          checker::to_text(static_cast<checker::TakenBack>(i)));
  }
  for (unsigned i = BALLAST_SUCCESS; i <= BALLAST_ABANDONED; ++i) {
    CHECK(field(event_of(EventKind::breaker_opened, i), "because") ==
          ballast_outcome_text(static_cast<ballast_outcome_t>(i)));
  }
  for (unsigned i = 0; i < shm::kReasonCount; ++i) {
    CHECK(field(event_of(EventKind::instance_down, i), "reason") ==
          shm::to_text(static_cast<shm::Reason>(i)));
  }
  for (const engine::StrategyName& name : engine::kStrategies) {
    shm::Event event = event_of(EventKind::strategy_changed);
    event.to = static_cast<std::uint8_t>(name.strategy);
    CHECK(field(event, "to") == name.text);
  }
  shm::Event event = event_of(EventKind::breaker_closed);
  event.from = static_cast<std::uint8_t>(engine::BreakerState::half_open);
  CHECK(field(event, "from") == "half_open");
}

TEST_CASE("numbers that nobody knows are shown as numbers") {
  for (unsigned kind = 0; kind < 256; ++kind) {
    shm::Event event = event_of(static_cast<EventKind>(kind), 60'000);
    event.from = event.to = 200;
    event.by = static_cast<shm::EventBy>(kind);
    event.id = event.value = ~std::uint64_t{0};
    const auto fields = describe(event);
    CHECK(std::none_of(fields.begin(), fields.end(),
                       [](const EventField& field) { return field.name.empty(); }));
  }
  CHECK(field(event_of(EventKind::instance_down, 60'000), "reason") == "60000");
}

TEST_CASE("no field is named twice, and none as what every event has") {
  for (unsigned kind = 0; kind < shm::kEventKindCount; ++kind) {
    shm::Event event = event_of(static_cast<EventKind>(kind), 1);
    event.by = shm::EventBy::worker;
    event.to = 1;
    auto fields = describe(event);
    std::sort(fields.begin(), fields.end(),
              [](const EventField& a, const EventField& b) { return a.name < b.name; });
    for (std::size_t i = 0; i < fields.size(); ++i) {
      CHECK_MESSAGE((i == 0 || fields[i - 1].name != fields[i].name), fields[i].name);
      CHECK_MESSAGE(fields[i].name != "time", fields[i].name);
      CHECK_MESSAGE(fields[i].name != "time_ns", fields[i].name);
      CHECK_MESSAGE(fields[i].name != "kind", fields[i].name);
    }
  }
}

TEST_CASE("the log says what the record says, with the instance as it is configured") {
  checker::InstanceSettings instance;
  instance.endpoint = *shm::parse_endpoint("10.0.0.1:80");
  instance.text = "backend1:80";
  checker::Transition told =
      checker::about("web", instance, EventKind::instance_down, shm::EventBy::probe);
  told.level = checker::Level::warning;
  told.event.reason = static_cast<std::uint16_t>(shm::Reason::timeout);
  told.also = {{"note", "n"}};
  const checker::Event line = checker::to_log(told);
  CHECK(line.name == "instance_down");
  CHECK(line.level == checker::Level::warning);
  const std::vector<std::pair<std::string, std::string>> expected{
      {"service", "web"}, {"instance", "backend1:80"}, {"reason", "timeout"},
      {"detail", "0"},    {"check_us", "0"},           {"by", "probe"},
      {"note", "n"}};
  CHECK(line.fields == expected);
  CHECK(field(told.event, "instance") == "10.0.0.1:80");
}

}  // namespace ballast::inspect
