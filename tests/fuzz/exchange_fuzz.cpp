// Any bytes may come from a server that is checked by steps or by a preset, cut at any place. A
// check must end at the latest with the connection, say something that people can read, and leave
// nothing behind that changes the next one. What is expected may be anything, too.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/probing/preset_exchange.hpp"
#include "engine/checker/probing/steps_exchange.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using namespace ballast::checker;
using ballast::fuzz::Pieces;
using ballast::fuzz::require;
using ballast::fuzz::require_printable;

constexpr std::size_t kMaxReply = kMaxSteps * kMaxStepBytes;

struct Outcome {
  Reason reason;
  std::string note;
  bool keep;
  std::string said;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome check(Exchange& exchange, std::string_view input, std::size_t piece) {
  Outcome outcome{};
  const auto said = [&](const Payload& payload) {
    if (payload == nullptr) return;
    require(!payload->empty());
    outcome.said += *payload;
    require(outcome.said.size() <= kMaxReply);
  };
  said(exchange.begin(true));
  require(!exchange.answered());
  Exchange::Step step;
  std::size_t at = 0;
  while (at < input.size() && !step.done) {
    step = exchange.on_bytes(input.substr(at, piece));
    at += piece;
    require(exchange.answered() && !step.lost);
    said(step.reply);
  }
  if (!step.done) {
    const CheckResult late = exchange.on_timeout();
    require(!late.passed());
    require_printable(late.note);
    step = exchange.on_close();
    require(step.done && !step.keep && !step.result.passed());
  }
  require(step.result.reason != Reason::none);
  require(step.result.passed() || !step.keep);
  require_printable(step.result.note);
  outcome.reason = step.result.reason;
  outcome.note = step.result.note;
  outcome.keep = step.keep;
  // What comes after, on a connection that is kept.
  for (; step.keep && at < input.size(); at += piece) {
    const Exchange::Unasked unasked = exchange.on_unasked(input.substr(at, piece));
    require(!unasked.changed && unasked.reply == nullptr);
    if (unasked.lost || unasked.enough) break;
  }
  return outcome;
}

std::vector<ExchangeStep> take_steps(Pieces& input) {
  std::vector<ExchangeStep> steps;
  for (std::size_t n = 1 + input.number() % 5U; n > 0; --n) {
    const std::uint8_t what = input.number();
    // As the configuration has them: never of no bytes.
    std::string bytes(input.piece(1 + what % 16U));
    if (bytes.empty()) bytes = "x";
    steps.push_back({(what & 0x80) != 0 ? ExchangeStep::Kind::send : ExchangeStep::Kind::expect,
                     std::move(bytes)});
  }
  return steps;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Pieces input(data, size);
  const std::uint8_t what = input.number();
  std::size_t piece = 1 + input.number() % 32U;
  std::vector<ExchangeStep> steps;
  std::unique_ptr<Exchange> exchange;
  bool cut_matters = true;  // where what comes before it is asked for is passed over
  switch (what % 6) {
    case 0:
    case 1:
      steps = take_steps(input);
      exchange = std::make_unique<StepsExchange>(steps, /*datagrams=*/what % 6 == 1);
      break;
    default: {
      const auto preset = static_cast<Preset>(what % 6 - 1);
      exchange = std::make_unique<PresetExchange>(preset);
      cut_matters = preset != Preset::redis && preset != Preset::postgres;
      break;
    }
  }
  // Many times over, so that the limits are met.
  std::string bytes(input.rest());
  if ((what & 0x80) != 0 && !bytes.empty()) {
    while (bytes.size() < 40'000)
      bytes += input.rest();
    piece *= 64;
  }
  const Outcome whole = check(*exchange, bytes, std::max<std::size_t>(bytes.size(), 1));
  const Outcome pieces = check(*exchange, bytes, piece);
  if (!cut_matters && bytes.size() <= PresetExchange::kMaxAnswerBytes) {
    require(pieces.reason == whole.reason);
  }
  // As good as new.
  require(check(*exchange, bytes, std::max<std::size_t>(bytes.size(), 1)) == whole);
  require(check(*exchange, bytes, piece) == pieces);
  return 0;
}
