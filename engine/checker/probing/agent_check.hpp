// An agent that speaks beside an instance's check is checked like an instance of its own: these are
// its number, its settings and its place. Its failures are nobody's: only what it says counts.
// Pure; used by the checker, which owns both checks.
#pragma once

#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

// The checker numbers its instances from one; the number of an instance's agent follows from its
// own.
inline constexpr InstanceId kAgentBit = InstanceId{1} << 63;
[[nodiscard]] constexpr InstanceId agent_of(InstanceId instance) noexcept {
  return instance | kAgentBit;
}
[[nodiscard]] constexpr bool is_agent(InstanceId id) noexcept {
  return (id & kAgentBit) != 0;
}
[[nodiscard]] constexpr InstanceId spoken_for(InstanceId agent) noexcept {
  return agent & ~kAgentBit;
}

[[nodiscard]] inline CheckSettings agent_check(const AgentSettings& agent) {
  CheckSettings check;
  check.kind = CheckKind::agent;
  check.port = agent.port;
  check.agent_send = agent.send;
  check.interval = agent.interval;
  check.fast_interval = agent.interval;  // a failure says nothing that more looks could confirm
  check.timeout = agent.timeout;
  check.failures_to_check = 0;
  return check;
}

// Where it is asked: at the address where the instance is checked.
[[nodiscard]] inline InstanceSettings agent_place(const InstanceSettings& instance) {
  InstanceSettings place;
  place.endpoint = instance.check_endpoint.value_or(instance.endpoint);
  place.text = instance.text;
  return place;
}

}  // namespace ballast::checker
