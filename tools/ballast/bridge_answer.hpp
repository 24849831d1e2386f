// HAProxy's agent protocol as `ballast bridge haproxy` speaks it: the line that HAProxy sends
// (`agent-send`), and the line that says what the table thinks of an instance. Pure functions; the
// request comes from the network and is read as hostile input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/policy.hpp"
#include "shm/endpoint.hpp"
#include "shm/state_word.hpp"

namespace ballast::tools {

// Longest line that is read, without its end: a service, an address, a weight.
inline constexpr std::size_t kMaxAgentLine = 255;
inline constexpr std::uint32_t kMaxAgentWeight = 65'535;

// "SERVICE ADDRESS:PORT" or "SERVICE ADDRESS:PORT WEIGHT".
struct AgentQuestion {
  std::string_view service;
  shm::Endpoint endpoint;
  // The weight, in the table's units, that 100 % stands for; 0: the instance's configured one.
  std::uint32_t full_weight = 0;
};
[[nodiscard]] std::optional<AgentQuestion> parse_agent_question(std::string_view line);

// What the table says of one instance.
struct AgentFacts {
  shm::State state;
  std::uint64_t configured_weight = 1;
  engine::PanicMode panic = engine::PanicMode::none;  // of its group
  bool breaker_is_open = false;                       // and not yet to be tried
  bool has_left = false;                              // it was there, and its service still is
};

// "up ready 75%", "down ready #timeout", "drain up", "maint": words of HAProxy's, and a newline.
// HAProxy rounds down to whole weights, so whatever has a weight gets 1 % at least.
[[nodiscard]] std::string agent_answer(const AgentFacts& facts, std::uint32_t full_weight);

}  // namespace ballast::tools
