// Reading HAProxy's question and wording the answer; see bridge_answer.hpp.
#include "tools/ballast/bridge_answer.hpp"

#include <algorithm>
#include <charconv>

#include "shm/layout.hpp"

namespace ballast::tools {
namespace {

// HAProxy takes no more than this for a percentage: 256 times a weight of 1.
constexpr std::uint64_t kMaxPercent = 25'600;

std::string_view next_word(std::string_view& rest) {
  const auto begin = rest.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  rest.remove_prefix(begin);
  const std::string_view word = rest.substr(0, rest.find_first_of(" \t"));
  rest.remove_prefix(word.size());
  return word;
}

std::uint64_t percent_of(const AgentFacts& facts, std::uint32_t full_weight) {
  const std::uint64_t full = full_weight != 0 ? full_weight : facts.configured_weight;
  if (full == 0 || facts.state.weight == 0) return 0;
  const std::uint64_t unit = std::min<std::uint64_t>(full, kMaxAgentWeight) * shm::kWeightUnit;
  return std::clamp<std::uint64_t>((facts.state.weight * std::uint64_t{100} + unit / 2) / unit, 1,
                                   kMaxPercent);
}

// Why an instance that is in service is not to be used; empty: it is.
std::string reason_against(const AgentFacts& facts) {
  if (facts.panic == engine::PanicMode::all) return {};
  if (facts.panic == engine::PanicMode::fail) return "panic: too few instances are healthy";
  if (facts.state.health != shm::Health::up && !facts.state.usable)
    return shm::to_text(facts.state.reason);
  if (facts.state.ejected) return "ejected";
  if (!facts.state.usable) return "not to be used";
  if (facts.breaker_is_open) return "circuit breaker";
  return {};
}

}  // namespace

std::optional<AgentQuestion> parse_agent_question(std::string_view line) {
  if (line.size() > kMaxAgentLine) return std::nullopt;
  AgentQuestion question;
  question.service = next_word(line);
  if (question.service.empty() || question.service.size() >= shm::kServiceNameBytes)
    return std::nullopt;
  const auto endpoint = shm::parse_endpoint(next_word(line));
  if (!endpoint) return std::nullopt;
  question.endpoint = *endpoint;
  if (const std::string_view weight = next_word(line); !weight.empty()) {
    const char* const end = weight.data() + weight.size();
    const auto [stop, error] = std::from_chars(weight.data(), end, question.full_weight);
    if (error != std::errc{} || stop != end || question.full_weight == 0 ||
        question.full_weight > kMaxAgentWeight) {
      return std::nullopt;
    }
  }
  if (!next_word(line).empty()) return std::nullopt;
  return question;
}

std::string agent_answer(const AgentFacts& facts, std::uint32_t full_weight) {
  if (facts.has_left) return "drain up\n";
  if (facts.state.admin == shm::Admin::maintenance) return "maint\n";
  const std::string against = reason_against(facts);
  if (facts.state.admin == shm::Admin::drain) {
    // What is drained is not to be used, so only its health tells whether it still answers.
    if (facts.state.health != shm::Health::down) return "drain up\n";
    return "drain down #" + std::string(shm::to_text(facts.state.reason)) + "\n";
  }
  if (!against.empty()) return "ready down #" + against + "\n";
  return "up ready " + std::to_string(percent_of(facts, full_weight)) + "%\n";
}

}  // namespace ballast::tools
