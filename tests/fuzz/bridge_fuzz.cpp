// Any bytes may come as a question of HAProxy's, and any word may stand in the table: what is taken
// as a question lies within its limits, and each answer is one line of words that HAProxy knows.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tools/ballast/bridge_answer.hpp"

namespace {

using namespace ballast;

void require(bool condition) {
  if (!condition) std::abort();
}

void ask(std::string_view line) {
  const auto question = tools::parse_agent_question(line);
  if (!question) return;
  require(line.size() <= tools::kMaxAgentLine);
  require(!question->service.empty() && question->service.size() < 64);
  require(question->endpoint.family != shm::Family::none && question->endpoint.port != 0);
  require(question->full_weight <= tools::kMaxAgentWeight);
  const std::string again = std::string(question->service) + " " + question->endpoint.to_text();
  const auto second = tools::parse_agent_question(again);
  require(second && second->endpoint == question->endpoint);
}

void answer(const std::uint8_t* data, std::size_t size) {
  std::uint64_t words[3] = {};
  std::memcpy(words, data, size < sizeof words ? size : sizeof words);
  tools::AgentFacts facts;
  facts.state = shm::unpack(words[0]);
  facts.configured_weight = words[1];
  facts.panic = static_cast<engine::PanicMode>(words[2] % 3);
  facts.breaker_is_open = (words[2] >> 8 & 1) != 0;
  facts.has_left = (words[2] >> 9 & 7) == 7;
  const std::string text =
      tools::agent_answer(facts, static_cast<std::uint32_t>(words[2] >> 32) & 0xffff);
  require(text.size() < 80 && text.find('\n') == text.size() - 1);
  require(text.starts_with("up ready ") || text.starts_with("ready down #") ||
          text.starts_with("drain ") || text == "maint\n");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  ask(input);
  ask("web " + std::string(input));
  ask("web 10.0.0.1:80 " + std::string(input));
  answer(data, size);
  return 0;
}
