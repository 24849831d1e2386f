// From transitions to lines of the log.
#include "engine/checker/publishing/transition.hpp"

#include <cmath>
#include <utility>

#include "engine/inspect/event_text.hpp"

namespace ballast::checker {

Event to_log(const Transition& transition) {
  Event event{transition.level, shm::to_text(transition.event.kind), {}};
  std::vector<inspect::EventField> fields = inspect::describe(transition.event);
  for (inspect::EventField& field : fields) {
    if (field.name == "instance" && !transition.instance.empty()) field.text = transition.instance;
    event.fields.emplace_back(std::move(field.name), std::move(field.text));
  }
  event.fields.insert(event.fields.end(), transition.also.begin(), transition.also.end());
  return event;
}

Transition about(const std::string& service, const InstanceSettings& instance, shm::EventKind kind,
                 shm::EventBy by) {
  Transition transition = about(service, kind, by);
  transition.event.endpoint = instance.endpoint;
  transition.instance = instance.text;
  return transition;
}

Transition about(const std::string& service, shm::EventKind kind, shm::EventBy by) {
  Transition transition;
  transition.event.kind = kind;
  transition.event.by = by;
  transition.event.service = service;
  return transition;
}

Transition to_transition(const Notice& notice, const ServiceSettings& service) {
  using shm::EventBy;
  using shm::EventKind;
  const auto whole = [](double number) {
    return number > 0 ? static_cast<std::uint64_t>(std::llround(number)) : 0;
  };
  Transition told;
  switch (notice.kind) {
    case Notice::Kind::ejected:
      told = about(service.name, service.instances[notice.instance], EventKind::instance_ejected,
                   EventBy::checker);
      told.level = Level::warning;
      if (notice.verdict.reason == OutlierReason::by_operator) told.event.by = EventBy::operators;
      told.event.reason = static_cast<std::uint16_t>(notice.verdict.reason);
      told.event.id =
          shm::pack_event_pair(whole(notice.verdict.value), whole(notice.verdict.limit));
      told.event.value = shm::pack_event_pair(notice.for_ms, notice.times);
      break;
    case Notice::Kind::taken_back:
      told = about(service.name, service.instances[notice.instance], EventKind::instance_taken_back,
                   EventBy::checker);
      told.event.reason = static_cast<std::uint16_t>(notice.because);
      break;
    case Notice::Kind::panic_began:
      told = about(service.name, EventKind::panic_began, EventBy::checker);
      told.level = Level::error;
      told.event.to = static_cast<std::uint8_t>(notice.mode);
      break;
    case Notice::Kind::panic_ended:
      told = about(service.name, EventKind::panic_ended, EventBy::checker);
      break;
  }
  return told;
}

}  // namespace ballast::checker
