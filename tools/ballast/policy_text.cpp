// Policies and groups for people: only what is not simply off.
#include "tools/ballast/policy_text.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "engine/strategy.hpp"

namespace ballast::tools {
namespace {

using engine::PanicMode;
using engine::Policy;
using inspect::GroupView;
using inspect::ServiceView;

std::string time_text(std::uint32_t ms) {
  if (ms % 60'000 == 0) return fmt::format("{} min", ms / 60'000);
  if (ms % 1'000 == 0) return fmt::format("{} s", ms / 1'000);
  return fmt::format("{} ms", ms);
}

const char* mode_text(PanicMode mode) noexcept {
  switch (mode) {
    case PanicMode::all:
      return "all are used";
    case PanicMode::fail:
      return "picks fail";
    case PanicMode::none:
      break;
  }
  return "nothing changes";
}

std::string limits_text(const Policy& p) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (p.max_in_flight != 0) add(fmt::format("{} in flight an instance", p.max_in_flight));
  if (p.service_max_in_flight != 0) add(fmt::format("{} in all", p.service_max_in_flight));
  if (p.retry_percent != 0) {
    add(fmt::format("retries {} % of those in flight, at least {}", p.retry_percent,
                    p.retry_minimum));
  }
  return text;
}

std::string breaker_text(const Policy& p) {
  std::string text;
  if (p.breaker_consecutive != 0) text = fmt::format("{} failures in a row", p.breaker_consecutive);
  if (p.breaker_rate_percent != 0) {
    text += fmt::format("{}{} % of at least {} in {}", text.empty() ? "" : ", or ",
                        p.breaker_rate_percent, p.breaker_requests, time_text(p.breaker_window_ms));
  }
  if (text.empty()) return "off";
  return text + fmt::format("; open {} to {}; at most {} % ejected", time_text(p.breaker_open_ms),
                            time_text(p.breaker_open_max_ms), p.max_ejected_percent);
}

std::string group_text(const GroupView& group, bool zones) {
  std::string text = fmt::format("tier {}", group.tier);
  if (zones) text += group.is_local ? ", this zone" : ", other zones";
  text += fmt::format(": {} instance{}, {:.1f} % of picks", group.slots.size(),
                      group.slots.size() == 1 ? "" : "s", 100 * group.share);
  if (group.panic != PanicMode::none) text += std::string(", panic: ") + mode_text(group.panic);
  return text;
}

}  // namespace

std::string strategy_text(const ServiceView& service) {
  const auto strategy = engine::strategy_of(service.strategy);
  if (!strategy) return fmt::format("strategy {}", service.strategy);
  std::string text = engine::to_text(*strategy);
  const Policy& p = service.policy;
  if (engine::is_keyed(*strategy) && p.hash_bound_percent != 0) {
    text += fmt::format(" bounded at {:.2f}", p.hash_bound_percent / 100.0);
  }
  if (engine::compares_load(*strategy)) {
    text += p.choices == 0 ? " of all" : fmt::format(" of {}", p.choices);
  }
  if (*strategy == engine::Strategy::adaptive && p.hot_cold != 0) text += " with hot/cold";
  return text;
}

std::string policy_text(const ServiceView& service) {
  const Policy& p = service.policy;
  std::string out;
  const auto line = [&](const char* name, const std::string& text) {
    if (!text.empty()) out += fmt::format("  {:<8}  {}\n", name, text);
  };
  line("limits", limits_text(p));
  if (const std::string text = breaker_text(p); text != breaker_text(Policy{}))
    line("breaker", text);
  if (p.panic_percent != 0) {
    line("panic", fmt::format("below {} %: {}", p.panic_percent,
                              mode_text(static_cast<PanicMode>(p.panic_mode))));
  }
  if (p.stale_mode != 0) {
    line("stale", fmt::format("after {}: {}", time_text(p.stale_after_ms),
                              mode_text(static_cast<PanicMode>(p.stale_mode))));
  }
  const bool zones = std::any_of(service.groups.begin(), service.groups.end(),
                                 [](const GroupView& group) { return !group.is_local; });
  const bool panics =
      std::any_of(service.groups.begin(), service.groups.end(),
                  [](const GroupView& group) { return group.panic != PanicMode::none; });
  if (service.groups.size() < 2 && !zones && !panics) return out;
  for (const GroupView& group : service.groups)
    line("group", group_text(group, zones));
  return out;
}

}  // namespace ballast::tools
