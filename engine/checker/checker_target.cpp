// What is told of targets and of the checker.
#include "engine/checker/checker_target.hpp"

#include <unistd.h>

#include <cstddef>
#include <string>

namespace ballast::checker {
namespace {

std::size_t count_instances(const Settings& settings) {
  std::size_t count = 0;
  for (const ServiceSettings& service : settings.services)
    count += service.instances.size();
  return count;
}

}  // namespace

Transition flipped(const Target& target, Health before, const CheckResult& check) {
  const bool up = target.health == Health::up;
  Transition told =
      about(target.service, target.instance,
            up ? shm::EventKind::instance_up : shm::EventKind::instance_down, shm::EventBy::probe);
  told.level = up ? Level::info : Level::warning;
  told.event.from = static_cast<std::uint8_t>(before);
  told.event.to = static_cast<std::uint8_t>(target.health);
  told.event.reason = static_cast<std::uint16_t>(target.reason);
  told.event.value = shm::pack_event_pair(static_cast<std::uint32_t>(check.detail),
                                          static_cast<std::uint64_t>(check.latency.count()));
  if (!check.note.empty()) told.also.emplace_back("note", check.note);
  return told;
}

void name_checker(Transition& transition, const Publisher& publisher) {
  transition.event.id =
      shm::pack_event_pair(static_cast<std::uint64_t>(::getpid()), publisher.term());
  transition.event.value = publisher.segment_id();
}

Transition taken_over(const Publisher& publisher, const Settings& settings) {
  Transition transition = about(
      {}, publisher.adopted() ? shm::EventKind::segment_adopted : shm::EventKind::segment_created,
      shm::EventBy::checker);
  name_checker(transition, publisher);
  transition.also = {{"services", std::to_string(settings.services.size())},
                     {"instances", std::to_string(count_instances(settings))}};
  return transition;
}

}  // namespace ballast::checker
