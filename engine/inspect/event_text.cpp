// The fields of each kind of event.
#include "engine/inspect/event_text.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "engine/breaker_word.hpp"
#include "engine/policy.hpp"
#include "engine/strategy.hpp"
#include "shm/state_word.hpp"

namespace ballast::inspect {
namespace {

using shm::EventKind;

// As the checker's OutlierReason, TakenBack and the C API's outcomes are numbered; tests compare.
constexpr std::array<const char*, 5> kEjections{"none", "success_rate", "failure_percentage",
                                                "latency", "operator"};
constexpr std::array<const char*, 4> kTakenBack{"time", "checks_passed", "settings", "operator"};
constexpr std::array<const char*, 9> kOutcomes{"none",     "success",   "connect_failure",
                                               "timeout",  "reset",     "server_error",
                                               "overload", "cancelled", "abandoned"};
constexpr std::array<const char*, 3> kBreakers{"closed", "open", "half_open"};
constexpr std::array<const char*, 3> kModes{"none", "all", "fail"};

std::string name_in(std::span<const char* const> names, std::size_t number) {
  return number < names.size() ? names[number] : std::to_string(number);
}

class Fields {
 public:
  void text(const char* name, std::string value) {
    fields_.push_back({name, std::move(value), false});
  }
  template <class Number>
  void number(const char* name, Number value) {
    fields_.push_back({name, std::to_string(value), true});
  }
  std::vector<EventField> take() { return std::move(fields_); }

 private:
  std::vector<EventField> fields_;
};

void describe_health(const shm::Event& event, Fields& fields) {
  fields.text("reason", event.reason < shm::kReasonCount
                            ? shm::to_text(static_cast<shm::Reason>(event.reason))
                            : std::to_string(event.reason));
  fields.number("detail", static_cast<std::int32_t>(shm::event_low(event.value)));
  fields.number("check_us", shm::event_high(event.value));
}

std::string admin_text(std::uint8_t number) {
  return number <= 2 ? shm::to_text(static_cast<shm::Admin>(number)) : std::to_string(number);
}

void describe_breaker(const shm::Event& event, Fields& fields) {
  fields.text("from", name_in(kBreakers, event.from));
  if (event.reason != 0) fields.text("because", name_in(kOutcomes, event.reason));
  if (event.kind == EventKind::breaker_opened) {
    fields.number("level", shm::event_low(event.value));
    fields.number("for_ms", shm::event_high(event.value));
  }
  if (event.by == shm::EventBy::worker) {
    fields.number("pid", shm::event_low(event.id));
    fields.number("row", shm::event_high(event.id));
  }
}

std::string strategy_text(std::uint8_t number) {
  const auto strategy = engine::strategy_of(number);
  return strategy ? engine::to_text(*strategy) : std::to_string(number);
}

void describe_own(const shm::Event& event, Fields& fields) {
  switch (event.kind) {
    case EventKind::none:
      break;
    case EventKind::instance_up:
    case EventKind::instance_down:
      describe_health(event, fields);
      break;
    case EventKind::instance_ejected:
      fields.text("reason", name_in(kEjections, event.reason));
      fields.number("value", shm::event_low(event.id));
      fields.number("limit", shm::event_high(event.id));
      fields.number("for_ms", shm::event_low(event.value));
      fields.number("times", shm::event_high(event.value));
      break;
    case EventKind::instance_taken_back:
      fields.text("because", name_in(kTakenBack, event.reason));
      break;
    case EventKind::admin_changed:
      fields.text("from", admin_text(event.from));
      fields.text("to", admin_text(event.to));
      break;
    case EventKind::weight_changed:
      fields.number("from", shm::event_low(event.value));
      fields.number("to", shm::event_high(event.value));
      break;
    case EventKind::instance_added:
    case EventKind::instance_removed:
      fields.number("weight", shm::event_low(event.value));
      fields.number("tier", shm::event_high(event.value));
      if (event.to != 0) fields.text("admin", admin_text(event.to));
      break;
    case EventKind::breaker_opened:
    case EventKind::breaker_half_open:
    case EventKind::breaker_closed:
      describe_breaker(event, fields);
      break;
    case EventKind::panic_began:
      fields.text("mode", name_in(kModes, event.to));
      break;
    case EventKind::panic_ended:
      break;
    case EventKind::service_added:
    case EventKind::service_removed:
      fields.number("instances", event.value);
      break;
    case EventKind::members_changed:
      fields.number("added", shm::event_low(event.value));
      fields.number("removed", shm::event_high(event.value));
      fields.number("changed", event.id);
      break;
    case EventKind::strategy_changed:
      fields.text("from", strategy_text(event.from));
      fields.text("to", strategy_text(event.to));
      break;
    case EventKind::source_failed:
    case EventKind::source_recovered:
      fields.text("source", event.label);
      fields.number("instances", event.value);
      break;
    case EventKind::row_reaped:
      fields.number("pid", shm::event_low(event.id));
      fields.number("row", shm::event_high(event.id));
      fields.number("abandoned", event.value);
      break;
    case EventKind::segment_created:
    case EventKind::segment_adopted:
    case EventKind::checker_left:
      fields.number("segment", event.value);
      fields.number("term", shm::event_high(event.id));
      fields.number("pid", shm::event_low(event.id));
      break;
    case EventKind::segment_grown:
      fields.number("from", event.id);
      fields.number("to", event.value);
      break;
    case EventKind::segment_drained:
    case EventKind::workers_file_lost:
    case EventKind::directory_gone:
      fields.number("segment", event.value);
      break;
  }
}

}  // namespace

std::vector<EventField> describe(const shm::Event& event) {
  Fields fields;
  if (!event.service.empty()) fields.text("service", event.service);
  if (shm::is_about_instance(event.kind)) fields.text("instance", event.endpoint.to_text());
  describe_own(event, fields);
  if (event.by != shm::EventBy::nobody) fields.text("by", shm::to_text(event.by));
  return fields.take();
}

}  // namespace ballast::inspect
