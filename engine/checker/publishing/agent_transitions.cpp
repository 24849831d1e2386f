// Two kinds of transition can follow from an agent's word: of health, and of the admin state.
#include "engine/checker/publishing/agent_transitions.hpp"

namespace ballast::checker {

using shm::EventBy;
using shm::EventKind;
using shm::Health;

std::vector<Transition> agent_transitions(const std::string& service,
                                          const InstanceSettings& instance, Health health,
                                          const engine::AgentReport& before,
                                          const engine::AgentReport& now) {
  std::vector<Transition> all;
  const auto shown = [health](const engine::AgentReport& agent) {
    return agent.up == false ? Health::down : health;
  };
  if (const Health from = shown(before), to = shown(now); from != to && to != Health::unknown) {
    const bool down = to == Health::down;
    Transition told =
        about(service, instance, down ? EventKind::instance_down : EventKind::instance_up,
              EventBy::agent);
    told.level = down ? Level::warning : Level::info;
    told.event.from = static_cast<std::uint8_t>(from);
    told.event.to = static_cast<std::uint8_t>(to);
    told.event.reason =
        static_cast<std::uint16_t>(down ? shm::Reason::agent_down : shm::Reason::passed);
    all.push_back(std::move(told));
  }
  const shm::Admin from = engine::strictest(instance.admin, before);
  const shm::Admin to = engine::strictest(instance.admin, now);
  if (from != to) {
    Transition told = about(service, instance, EventKind::admin_changed, EventBy::agent);
    told.event.from = static_cast<std::uint8_t>(from);
    told.event.to = static_cast<std::uint8_t>(to);
    all.push_back(std::move(told));
  }
  return all;
}

}  // namespace ballast::checker
