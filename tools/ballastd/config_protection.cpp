// What protects a service: breaker, outlier detection, retry budget, panic, staleness, slow start,
// the controller of weights, and the order of tiers and zones.
#include <algorithm>

#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"

namespace ballast::tools {
namespace {

using checker::Milliseconds;
using engine::Policy;

// The table `name` of the service if it is there and a table, its keys judged.
const ConfigValue* open_table(ConfigWalk& walk, const ConfigValue& service,
                              const std::string& where, const char* name, Words known) {
  const ConfigValue* table = service.find(name);
  const std::string header = where + "." + name;
  if (table == nullptr || !walk.want_table(*table, name, header)) return nullptr;
  walk.judge_keys(*table, where, "[" + header + "]", known);
  return table;
}

// The longest time must not be shorter than the first one; when it is not given, it follows.
template <class Time>
void judge_longest(ConfigWalk& walk, const ConfigValue& table, const char* first_key,
                   const Time& first, const char* longest_key, Time& longest) {
  if (longest >= first) return;
  const ConfigValue* given = table.find(longest_key);
  if (given == nullptr) {
    longest = first;
    return;
  }
  std::vector<SourceText::Note> notes{{given->span, "is shorter than"}};
  if (const ConfigValue* other = table.find(first_key)) {
    notes.push_back({other->span, first_key});
  } else {
    notes[0].text = "here";
  }
  walk.complain({std::string(longest_key) + " is shorter than " + first_key + ", " +
                     duration_text(detail::to_number(first)),
                 "lengthen it, or shorten " + std::string(first_key)},
                notes);
}

// "20%", or a table that says more.
void read_retry_budget(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                       Policy& policy) {
  const ConfigValue* value = service.find("retry_budget");
  if (value == nullptr) return;
  const auto fields = keys::retry_budget_fields();
  if (value->is(ConfigValue::Type::table)) {
    open_table(walk, service, where, "retry_budget", keys::retry_budget());
    read_fields(walk, *value, fields, policy);
    if (value->find("share") == nullptr) {
      walk.refuse(*value, "minimum", "there is a share", "add share = \"20%\"");
    }
    return;
  }
  if (!value->is(ConfigValue::Type::string)) {
    walk.wrong_type(*value, "retry_budget",
                    "a string, or a table such as { share = \"20%\", minimum = 3 }");
    return;
  }
  FieldInfo share = fields[0].info;
  share.key = "retry_budget";
  if (const auto number = read_field(walk, service, share)) fields[0].set(policy, *number);
}

void read_panic(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                Policy& policy) {
  const ConfigValue* table = open_table(walk, service, where, "panic", keys::panic());
  if (table == nullptr) return;
  read_fields(walk, *table, keys::panic_fields(), policy);
  if (table->find("below") == nullptr) {
    walk.refuse(*table, "then", "there is a threshold", "add below = \"50%\"");
  }
}

void read_stale(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                Policy& policy) {
  const ConfigValue* table = open_table(walk, service, where, "stale", keys::stale());
  if (table == nullptr) return;
  read_fields(walk, *table, keys::stale_fields(), policy);
  const bool keeps = static_cast<engine::PanicMode>(policy.stale_mode) == engine::PanicMode::none;
  if (keeps && (table->find("then") == nullptr || table->find("then")->string == "keep")) {
    walk.refuse(*table, "after", "then is \"all\" or \"fail\"", "set one of these");
  }
}

void read_breaker(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                  Policy& policy) {
  const ConfigValue* table = open_table(walk, service, where, "breaker", keys::breaker());
  if (table == nullptr) return;
  read_fields(walk, *table, keys::breaker_fields(), policy);
  judge_longest(walk, *table, "open", policy.breaker_open_ms, "open_max",
                policy.breaker_open_max_ms);
  if (policy.breaker_rate_percent == 0) {
    for (const char* key : {"requests", "window"})
      walk.refuse(*table, key, "failure_rate is above \"0%\"", "raise that");
  }
  if (read_field(walk, *table, keys::breaker_enabled()) == 0) {
    policy.breaker_consecutive = 0;
    policy.breaker_rate_percent = 0;
  }
}

void read_outlier(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                  checker::OutlierSettings& outlier) {
  const ConfigValue* table = open_table(walk, service, where, "outlier", keys::outlier());
  if (table == nullptr) return;
  read_fields(walk, *table, keys::outlier_fields(), outlier);
  judge_longest(walk, *table, "ejection", outlier.ejection, "ejection_max", outlier.ejection_max);
  if (outlier.success_rate_sigma_tenths == 0) {
    for (const char* key : {"success_rate_instances", "success_rate_requests"})
      walk.refuse(*table, key, "success_rate_sigma is above 0", "raise that");
  }
  if (outlier.failure_percent == 0) {
    walk.refuse(*table, "failure_requests", "failure_rate is above \"0%\"", "raise that");
  }
  if (outlier.latency_factor_tenths == 0) {
    walk.refuse(*table, "latency_requests", "latency_factor is above 0", "raise that");
  }
}

void read_slow_start(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                     checker::SlowStartSettings& slow_start) {
  const ConfigValue* table = open_table(walk, service, where, "slow_start", keys::slow_start());
  if (table == nullptr) return;
  read_fields(walk, *table, keys::slow_start_fields(), slow_start);
  const ConfigValue* window = table->find("window");
  const auto parsed =
      window != nullptr ? parse_duration(window->string) : Parsed<Milliseconds>(Milliseconds(0));
  if (!parsed.ok() || parsed.value() != Milliseconds(0)) return;  // not off
  for (const char* key : {"aggression", "floor"})
    walk.refuse(*table, key, "there is a window", "add window = \"30s\"");
}

}  // namespace

void read_protection(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                     checker::ServiceSettings& out) {
  read_retry_budget(walk, service, where, out.policy);
  read_panic(walk, service, where, out.policy);
  read_stale(walk, service, where, out.policy);
  read_breaker(walk, service, where, out.policy);
  read_outlier(walk, service, where, out.outlier);
  read_slow_start(walk, service, where, out.slow_start);
  if (!engine::has_breaker(out.policy) && !out.outlier.enabled) {
    walk.refuse(service, "max_ejected", "the breaker or outlier detection is on",
                "switch one of them on");
  }
  if (const auto* table = open_table(walk, service, where, "controller", keys::controller())) {
    read_fields(walk, *table, keys::controller_fields(), out.controller);
    if (table->find("enabled") == nullptr) {
      for (const std::string_view key : keys::controller())
        walk.refuse(*table, key, "enabled is true", "add enabled = true");
    }
  }
  if (const auto* table = open_table(walk, service, where, "spillover", keys::spillover())) {
    read_fields(walk, *table, keys::spillover_fields(), out.spillover);
  }
}

}  // namespace ballast::tools
