// What is said and what must come, step by step, in the checks that go by that: of kind "tcp",
// where it may be left out, and of kind "udp", where each step is a datagram.
#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"

namespace ballast::tools {
namespace {

using checker::ExchangeStep;
using Type = ConfigValue::Type;

constexpr std::array<std::string_view, 4> kStepKeys{"send", "expect", "send_hex", "expect_hex"};

// "00 ff", "00ff".
std::optional<std::string> from_hex(const std::string& text) {
  std::string digits;
  for (const char c : text) {
    if (c == ' ') continue;
    const bool is_digit =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!is_digit) return std::nullopt;
    digits += c;
  }
  if (digits.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

std::optional<ExchangeStep> read_step(ConfigWalk& walk, const ConfigValue& item) {
  if (!item.is(Type::table)) {
    walk.wrong_type(item, "a step", "a table: { send = \"PING\\r\\n\" } or { expect = \"+PONG\" }");
    return std::nullopt;
  }
  if (!walk.judge_keys(item, {}, "a step", kStepKeys)) return std::nullopt;
  if (item.entries.size() != 1) {
    walk.complain(
        item, {"a step says " + std::string(item.entries.empty() ? "nothing" : "several things"),
               "give it one key of " + listed(kStepKeys)});
    return std::nullopt;
  }
  const auto& [key, value] = item.entries.front();
  if (!value.is(Type::string)) {
    walk.wrong_type(value, key, "a string");
    return std::nullopt;
  }
  ExchangeStep step;
  step.kind = key.starts_with("send") ? ExchangeStep::Kind::send : ExchangeStep::Kind::expect;
  step.bytes = value.string;
  if (key.ends_with("_hex")) {
    const auto bytes = from_hex(value.string);
    if (!bytes) {
      walk.complain(value, {in_quotes(value.string) + " is not a number of bytes in hexadecimal",
                            "write two digits for each, such as \"00 ff\""});
      return std::nullopt;
    }
    step.bytes = *bytes;
  }
  if (step.bytes.empty() || step.bytes.size() > checker::kMaxStepBytes) {
    walk.complain(value, {key + " is " + std::to_string(step.bytes.size()) + " bytes long",
                          "use 1 to " + std::to_string(checker::kMaxStepBytes)});
    return std::nullopt;
  }
  return step;
}

// Datagrams: somebody has to begin, and only an answer proves anything.
void judge_datagrams(ConfigWalk& walk, const ConfigValue& list,
                     const std::vector<ExchangeStep>& steps) {
  using Kind = ExchangeStep::Kind;
  if (steps.front().kind != Kind::send) {
    walk.complain(list.items.front(),
                  {"over UDP nobody answers who was not asked", "begin with { send = ... }"});
  }
  if (steps.back().kind != Kind::expect) {
    walk.complain(list.items.back(), {"over UDP only an answer shows that somebody is there",
                                      "end with { expect = ... }"});
  }
  for (std::size_t i = 1; i < steps.size(); ++i) {
    if (steps[i].kind != Kind::send || steps[i - 1].kind != Kind::send) continue;
    walk.complain(list.items[i], {"two datagrams in a row",
                                  "expect an answer to the first one, or send one only"});
  }
}

}  // namespace

void read_steps(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check) {
  const bool datagrams = check.kind == checker::CheckKind::udp;
  const ConfigValue* list = table.find("steps");
  if (list == nullptr) {
    if (datagrams) {
      walk.complain(table, {"a check of kind \"udp\" has no steps",
                            "add steps = [{ send = \"...\" }, { expect = \"...\" }]"});
    }
    return;
  }
  if (!list->is(Type::array)) {
    return walk.wrong_type(*list, "steps",
                           "an array: [{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]");
  }
  if (list->items.empty() || list->items.size() > checker::kMaxSteps) {
    return walk.complain(*list, {"steps has " + std::to_string(list->items.size()) + " steps",
                                 "use 1 to " + std::to_string(checker::kMaxSteps)});
  }
  for (const ConfigValue& item : list->items) {
    const auto step = read_step(walk, item);
    if (step) check.steps.push_back(*step);
  }
  if (check.preset != checker::Preset::none) {
    walk.complain(*list, {"steps and preset are two ways to say the same", "remove one of them"});
  }
  if (check.steps.size() != list->items.size()) return;
  if (datagrams) return judge_datagrams(walk, *list, check.steps);
  const bool expects =
      std::any_of(check.steps.begin(), check.steps.end(),
                  [](const ExchangeStep& step) { return step.kind == ExchangeStep::Kind::expect; });
  if (!expects) {
    walk.complain(*list, {"steps expect nothing, so that no answer would end the check",
                          "add { expect = ... }"});
  }
}

}  // namespace ballast::tools
