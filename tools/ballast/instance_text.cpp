// Instances for people; see instance_text.hpp.
#include "tools/ballast/instance_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/inspect/rates.hpp"

namespace ballast::tools {
namespace {

constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kYellow = "\x1b[33m";

std::string state_text(const InstanceView& instance) {
  if (instance.phase == shm::Phase::cooling) return "gone";
  if (instance.state.admin != shm::Admin::ready) return shm::to_text(instance.state.admin);
  if (instance.state.ejected && instance.state.health != shm::Health::down) return "ejected";
  std::string text = shm::to_text(instance.state.health);
  if (instance.state.usable != (instance.state.health == shm::Health::up)) {
    text += instance.state.usable ? " (used)" : " (not used)";
  }
  if (instance.state.usable && !is_in_use(instance)) {
    text += instance.breaker.state == engine::BreakerState::open ? ", breaker open"
                                                                 : ", breaker half open";
  }
  return text;
}

const char* state_colour(const InstanceView& instance) {
  if (instance.phase == shm::Phase::cooling) return kYellow;
  if (is_in_use(instance)) return kGreen;
  return instance.state.health == shm::Health::down ? kRed : kYellow;
}

// The configured weight, after what is left of it where that differs.
std::string weight_text(const InstanceView& instance) {
  const std::uint64_t whole = instance.configured_weight * shm::kWeightUnit;
  if (instance.state.weight == whole) return fmt::format("{}", instance.configured_weight);
  std::string part = fmt::format("{:.2f}", effective_weight(instance));
  part.erase(part.find_last_not_of('0') + 1);
  if (part.ends_with('.')) part.pop_back();
  return part + "/" + std::to_string(instance.configured_weight);
}

// What its breaker keeps away; empty while that is closed and nothing has failed.
std::string breaker_text(const BreakerView& breaker) {
  const std::string left = fmt::format("{} s", (breaker.left_ms + 999) / 1000);
  switch (breaker.state) {
    case engine::BreakerState::open:
      return fmt::format("breaker open, {}{}", breaker.left_ms == 0 ? "due" : left + " left",
                         breaker.level > 1 ? fmt::format(", {} times", breaker.level) : "");
    case engine::BreakerState::half_open:
      return "breaker half open, one request tries it";
    case engine::BreakerState::closed:
      break;
  }
  return breaker.failures == 0 ? ""
                               : fmt::format("{} failure{} in a row", breaker.failures,
                                             breaker.failures == 1 ? "" : "s");
}

// What its agent asked for, but for what changes nothing; empty if that is all.
std::string agent_text(const engine::AgentReport& agent) {
  std::vector<std::string> words;
  if (agent.up == false) words.emplace_back("down");
  if (agent.admin.value_or(shm::Admin::ready) != shm::Admin::ready)
    words.emplace_back(shm::to_text(*agent.admin));
  if (agent.weight_percent.value_or(100) < 100)
    words.push_back(fmt::format("{} %", *agent.weight_percent));
  if (agent.max_in_flight.value_or(0) != 0)
    words.push_back(fmt::format("maxconn {}", *agent.max_in_flight));
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "agent: " : " ") + word;
  return text;
}

// Why an instance gets less than its weight, most telling first; "-" if it does not.
std::string why_text(const InstanceView& instance, std::uint64_t now) {
  if (instance.phase == shm::Phase::cooling) return "-";
  if (instance.state.ejected) {
    const std::string times =
        instance.ejections > 1 ? fmt::format(", {} times", instance.ejections) : "";
    return fmt::format(
        "ejected, {} left{}",
        instance.ejected_until_ns > now ? age_text(now, instance.ejected_until_ns) : "0 s", times);
  }
  std::string out = breaker_text(instance.breaker);
  if (instance.ramp_since_ns != 0) {
    if (!out.empty()) out += ", ";
    out += fmt::format("slow start for {}", age_text(instance.ramp_since_ns, now));
  }
  if (instance.multiplier < 1) {
    if (!out.empty()) out += ", ";
    out += fmt::format("{:.0f} % {}", 100 * instance.multiplier,
                       engine::to_text(instance.weight_reason));
    if (instance.weight_reason == engine::WeightReason::observed) {
      out += fmt::format(" {:.1f} ms", static_cast<double>(instance.latency_us) / 1000);
    } else if (instance.weight_reason == engine::WeightReason::reported) {
      out += fmt::format(" {:.0f} % busy", 100 * instance.utilisation);
    }
  }
  if (const std::string agent = agent_text(instance.agent); !agent.empty()) {
    if (!out.empty()) out += ", ";
    out += agent;
  }
  return out.empty() ? "-" : out;
}

// What requests took on average, "-" without one.
std::string mean_text(std::uint64_t sum_us, std::uint64_t count) {
  return count == 0 ? "-" : time_text(sum_us / count);
}

std::string rate_text(double rate) {
  return fmt::format("{:.{}f}", rate, rate < 100 ? 1 : 0);
}

std::string share_text(double part, double whole) {
  return whole <= 0 ? "" : fmt::format(" ({:.2f} %)", 100 * part / whole);
}

}  // namespace

bool is_in_use(const InstanceView& instance) {
  return instance.phase == shm::Phase::live && instance.state.usable &&
         instance.breaker.state == engine::BreakerState::closed;
}

std::string time_text(std::uint64_t us) {
  if (us == inspect::kBeyondUs) return "over 100 s";
  if (us < 1'000) return fmt::format("{} us", us);
  const double ms = static_cast<double>(us) / 1'000;
  if (us < 10'000) return fmt::format("{:.1f} ms", ms);
  if (us < 1'000'000) return fmt::format("{:.0f} ms", ms);
  return fmt::format("{:.1f} s", ms / 1'000);
}

TextTable instance_table(const ServiceView& service, std::uint64_t now, bool colour, bool why_below,
                         bool rates) {
  std::vector<std::string> whys;
  bool any_why = false;
  for (const auto& instance : service.instances) {
    whys.push_back(why_text(instance, now));
    any_why = any_why || whys.back() != "-";
  }
  const bool why_column = any_why && !why_below;
  std::vector<TextTable::Column> columns({{"INSTANCE"},
                                          {"STATE"},
                                          {"REASON"},
                                          {"WEIGHT", true, 7},
                                          {"IN FLIGHT", true},
                                          {rates ? "REQ/S" : "STARTED", true, rates ? 9U : 8U},
                                          {rates ? "FAIL/S" : "FAILED", true},
                                          {"LATENCY", true, 9},
                                          {"CHECKS", true, 2},
                                          {"BAD", true, 5},
                                          {"TOOK", true, 3},
                                          {"CHECKED", true, 4},
                                          {"CHANGED", true, 6},
                                          {"SLOT", true, 1}});
  if (why_column) columns.push_back({"WHY"});
  TextTable table(std::move(columns));
  for (std::size_t i = 0; i < service.instances.size(); ++i) {
    const InstanceView& instance = service.instances[i];
    std::string started = fmt::format("{}", instance.counters[shm::kStarted]);
    std::string failed = fmt::format("{}", failures_of(instance.counters));
    std::string latency =
        mean_text(instance.counters[shm::kLatencySumUs], instance.counters[shm::kLatencyCount]);
    if (rates) {
      const std::optional<inspect::Rate>& rate = instance.rate;
      started = rate ? rate_text(rate->started) : "-";
      failed = rate ? rate_text(rate->failed) : "-";
      latency = rate ? mean_text(rate->latency_sum_us, rate->latency_count) : "-";
    }
    std::vector<TextTable::Cell> cells(
        {instance.address,
         {state_text(instance), colour ? state_colour(instance) : nullptr},
         shm::to_text(instance.state.reason),
         weight_text(instance),
         fmt::format("{}", in_flight_of(instance.counters)),
         started,
         failed,
         latency,
         fmt::format("{}", instance.checks),
         fmt::format("{}", instance.check_failures),
         instance.checks == 0 ? std::string("-") : fmt::format("{} us", instance.check_us),
         age_text(instance.checked_ns, now),
         age_text(instance.changed_ns, now),
         fmt::format("{}", instance.slot)});
    if (why_column) cells.emplace_back(whys[i]);
    table.add(std::move(cells), why_below && whys[i] != "-" ? whys[i] : "");
  }
  return table;
}

std::string traffic_text(const ServiceView& service, std::uint64_t over_ns) {
  std::string text;
  if (service.rate && over_ns != 0) {
    const inspect::Rate& rate = *service.rate;
    text =
        fmt::format("{}/s, {} failed/s{}, in {}", rate_text(rate.started), rate_text(rate.failed),
                    share_text(rate.failed, rate.started), time_text(over_ns / 1'000));
  } else {
    std::uint64_t started = 0;
    std::uint64_t failed = 0;
    for (const InstanceView& instance : service.instances) {
      started += instance.counters[shm::kStarted];
      failed += failures_of(instance.counters);
    }
    if (started == 0) return {};
    text = fmt::format("{}, {} failed{}", started, failed,
                       share_text(static_cast<double>(failed), static_cast<double>(started)));
  }
  const std::uint64_t count = inspect::count_of(service.latencies);
  if (count != 0) {
    text += fmt::format("; latency: mean {}", time_text(service.latencies.sum_us / count));
    for (const auto& [name, share] : {std::pair{"p50", 0.5}, std::pair{"p99", 0.99}}) {
      const std::uint64_t us = inspect::quantile_us(service.latencies, share).value_or(0);
      text += fmt::format(", {} {}{}", name, us == inspect::kBeyondUs ? "" : "<= ", time_text(us));
    }
  }
  return "  requests  " + text + "\n";
}

}  // namespace ballast::tools
