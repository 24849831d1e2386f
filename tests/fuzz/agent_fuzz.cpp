// Any bytes may come as an agent's answer, in any pieces. Reading them must end, the pieces must
// not matter, and what is understood lies within the limits of the word that keeps it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/checker/probing/agent_exchange.hpp"
#include "engine/checker/probing/agent_line.hpp"

namespace {

using namespace ballast::checker;

void require(bool condition) {
  if (!condition) std::abort();
}

Exchange::Step feed(AgentExchange& exchange, std::string_view input, std::size_t piece) {
  static_cast<void>(exchange.begin(true));
  Exchange::Step step;
  for (std::size_t at = 0; at < input.size() && !step.done; at += piece)
    step = exchange.on_bytes(input.substr(at, piece));
  return step.done ? step : exchange.on_close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  AgentExchange exchange("");
  const Exchange::Step whole = feed(exchange, input, std::max<std::size_t>(input.size(), 1));
  const Exchange::Step pieces = feed(exchange, input, 1 + data[0] % 16);
  require(whole.done && pieces.done && !whole.keep);
  require(whole.result.reason == pieces.result.reason);
  require(whole.result.note == pieces.result.note);
  require(whole.result.agent == pieces.result.agent);
  require(whole.result.reason != Reason::none);
  require(whole.result.note.size() <= kMaxNoteBytes);
  require(std::all_of(whole.result.note.begin(), whole.result.note.end(),
                      [](char c) { return c >= ' ' && c <= '~'; }));
  if (whole.result.agent) {
    const auto& report = *whole.result.agent;
    require(ballast::engine::unpack_agent(ballast::engine::pack(report)) == report);
    require((whole.result.reason == Reason::agent_down) == (report.up == false));
  }
  return 0;
}
