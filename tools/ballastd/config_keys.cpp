// The lists, and what can be said from them alone.
#include "tools/ballastd/config_keys.hpp"

#include "tools/ballastd/config_metrics.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace ballast::tools {
namespace {

using checker::AgentSettings;
using checker::CheckSettings;
using checker::ControllerSettings;
using checker::InstanceSettings;
using checker::Limits;
using checker::OutlierSettings;
using checker::SlowStartSettings;
using checker::SourceSettings;
using checker::SpilloverSettings;
using engine::Policy;
using engine::Strategy;
using std::string_view;
namespace limits = engine::policy_limits;

constexpr std::uint32_t number_of(Strategy strategy) {
  return static_cast<std::uint32_t>(strategy);
}

constexpr std::array<Choice, 3> kHashes{{{"maglev", number_of(Strategy::maglev)},
                                         {"rendezvous", number_of(Strategy::rendezvous)},
                                         {"ketama", number_of(Strategy::ketama)}}};
// Round robin goes by weight; people look for it under both names.
constexpr std::array<Choice, 10> kStrategyWords{
    {{"consistent_hash", keys::kConsistentHash},
     kHashes[0],
     kHashes[1],
     kHashes[2],
     {"round_robin", number_of(Strategy::round_robin)},
     {"weighted_round_robin", number_of(Strategy::round_robin)},
     {"random", number_of(Strategy::random)},
     {"least_connections", number_of(Strategy::least_connections)},
     {"least_response_time", number_of(Strategy::least_response_time)},
     {"adaptive", number_of(Strategy::adaptive)}}};
static_assert(kStrategyWords.size() == engine::kStrategies.size() + 2);

constexpr std::array<Choice, 3> kAdmins{{{"ready", 0}, {"drain", 1}, {"maintenance", 2}}};
constexpr std::array<Choice, 2> kPanicModes{{{"all", 1}, {"fail", 2}}};
constexpr std::array<Choice, 3> kStaleModes{{{"keep", 0}, {"all", 1}, {"fail", 2}}};

constexpr FieldInfo kStrategy{"strategy", Form::choice, {0, 255}, {}, kStrategyWords};
constexpr FieldInfo kHash{"hash", Form::choice, {0, 255}, {}, kHashes};
constexpr FieldInfo kBreakerEnabled{"enabled", Form::flag, {0, 1}};

constexpr std::array kBallastFields{BALLAST_FIELD(checker::Settings, "max_workers", max_workers,
                                                  Form::number, {1, checker::kMaxWorkerRows}),
                                    BALLAST_FIELD(checker::Settings, "load_interval", load_interval,
                                                  Form::duration, checker::kLoadIntervalLimits),
                                    BALLAST_FIELD(checker::Settings, "max_events", max_events,
                                                  Form::number, checker::kMaxEventsLimits)};

constexpr std::array kInstanceFields{
    BALLAST_FIELD(InstanceSettings, "weight", weight, Form::number, {1, checker::kMaxWeight}),
    BALLAST_FIELD(InstanceSettings, "tier", tier, Form::number, {0, checker::kMaxTier}),
    BALLAST_FIELD(InstanceSettings, "admin", admin, Form::choice, {0, 2}, {}, kAdmins)};

constexpr std::array kSourceFields{
    BALLAST_FIELD(SourceSettings, "port", port, Form::number, {1, 65535}),
    BALLAST_FIELD(SourceSettings, "believe_empty", believe_empty, Form::flag)};

constexpr std::array kServiceFields{
    BALLAST_FIELD(Policy, "bound", hash_bound_percent, Form::hundredths,
                  {101, limits::hash_bound_percent.high}, "unbounded"),
    BALLAST_FIELD(Policy, "choices", choices, Form::candidates, {2, limits::choices.high}),
    BALLAST_FIELD(Policy, "hot_cold", hot_cold, Form::flag, limits::hot_cold),
    BALLAST_FIELD(Policy, "max_in_flight", max_in_flight, Form::number, limits::max_in_flight,
                  "unlimited"),
    BALLAST_FIELD(Policy, "service_max_in_flight", service_max_in_flight, Form::number,
                  limits::service_max_in_flight, "unlimited"),
    BALLAST_FIELD(Policy, "max_ejected", max_ejected_percent, Form::percent,
                  limits::max_ejected_percent, "nobody")};

constexpr std::array kRetryBudgetFields{
    BALLAST_FIELD(Policy, "share", retry_percent, Form::percent, {1, limits::retry_percent.high}),
    BALLAST_FIELD(Policy, "minimum", retry_minimum, Form::number, limits::retry_minimum)};

constexpr std::array kPanicFields{
    BALLAST_FIELD(Policy, "below", panic_percent, Form::percent, {1, limits::panic_percent.high}),
    BALLAST_FIELD(Policy, "then", panic_mode, Form::choice, limits::panic_mode, {}, kPanicModes)};

constexpr std::array kStaleFields{
    BALLAST_FIELD(Policy, "after", stale_after_ms, Form::duration, limits::stale_after_ms),
    BALLAST_FIELD(Policy, "then", stale_mode, Form::choice, limits::stale_mode, {}, kStaleModes)};

constexpr std::array kBreakerFields{
    BALLAST_FIELD(Policy, "consecutive", breaker_consecutive, Form::number,
                  limits::breaker_consecutive, "off"),
    BALLAST_FIELD(Policy, "failure_rate", breaker_rate_percent, Form::percent,
                  limits::breaker_rate_percent, "off"),
    BALLAST_FIELD(Policy, "requests", breaker_requests, Form::number, limits::breaker_requests),
    BALLAST_FIELD(Policy, "window", breaker_window_ms, Form::duration, limits::breaker_window_ms),
    BALLAST_FIELD(Policy, "open", breaker_open_ms, Form::duration, limits::breaker_open_ms),
    BALLAST_FIELD(Policy, "open_max", breaker_open_max_ms, Form::duration,
                  limits::breaker_open_max_ms),
    BALLAST_FIELD(Policy, "trial", breaker_trial_ms, Form::duration, limits::breaker_trial_ms),
    BALLAST_FIELD(Policy, "jitter", breaker_jitter_percent, Form::percent,
                  limits::breaker_jitter_percent),
    BALLAST_FIELD(Policy, "outcomes", breaker_outcomes, Form::outcomes, limits::breaker_outcomes)};

namespace outlier = checker::outlier_limits;
constexpr std::array kOutlierFields{
    BALLAST_FIELD(OutlierSettings, "enabled", enabled, Form::flag),
    BALLAST_FIELD(OutlierSettings, "interval", interval, Form::duration, outlier::interval),
    BALLAST_FIELD(OutlierSettings, "success_rate_sigma", success_rate_sigma_tenths, Form::tenths,
                  outlier::success_rate_sigma_tenths, "off"),
    BALLAST_FIELD(OutlierSettings, "success_rate_instances", success_rate_instances, Form::number,
                  outlier::success_rate_instances),
    BALLAST_FIELD(OutlierSettings, "success_rate_requests", success_rate_requests, Form::number,
                  outlier::requests),
    BALLAST_FIELD(OutlierSettings, "failure_rate", failure_percent, Form::percent,
                  outlier::failure_percent, "off"),
    BALLAST_FIELD(OutlierSettings, "failure_requests", failure_requests, Form::number,
                  outlier::requests),
    BALLAST_FIELD(OutlierSettings, "latency_factor", latency_factor_tenths, Form::tenths,
                  outlier::latency_factor_tenths, "off"),
    BALLAST_FIELD(OutlierSettings, "latency_requests", latency_requests, Form::number,
                  outlier::requests),
    BALLAST_FIELD(OutlierSettings, "ejection", ejection, Form::duration, outlier::ejection),
    BALLAST_FIELD(OutlierSettings, "ejection_max", ejection_max, Form::duration,
                  outlier::ejection_max),
    BALLAST_FIELD(OutlierSettings, "checks_take_back", checks_take_back, Form::flag)};

namespace slow_start = checker::slow_start_limits;
constexpr std::array kSlowStartFields{
    BALLAST_FIELD(SlowStartSettings, "window", window, Form::duration, slow_start::window, "off"),
    BALLAST_FIELD(SlowStartSettings, "aggression", aggression_tenths, Form::tenths,
                  slow_start::aggression_tenths),
    BALLAST_FIELD(SlowStartSettings, "floor", floor_percent, Form::percent,
                  slow_start::floor_percent)};

namespace controller = checker::controller_limits;
constexpr std::array kControllerFields{
    BALLAST_FIELD(ControllerSettings, "enabled", enabled, Form::flag),
    BALLAST_FIELD(ControllerSettings, "update", update, Form::duration, controller::update),
    BALLAST_FIELD(ControllerSettings, "blackout", blackout, Form::duration, controller::blackout),
    BALLAST_FIELD(ControllerSettings, "expiry", expiry, Form::duration, controller::expiry),
    BALLAST_FIELD(ControllerSettings, "error_penalty", error_penalty_percent, Form::hundredths,
                  controller::error_penalty_percent),
    BALLAST_FIELD(ControllerSettings, "floor", floor_percent, Form::percent,
                  controller::floor_percent),
    BALLAST_FIELD(ControllerSettings, "damping", damping_percent, Form::percent,
                  controller::damping_percent)};

constexpr Limits kAgentIntervals{static_cast<std::uint32_t>(checker::kMinInterval.count()),
                                 static_cast<std::uint32_t>(checker::kMaxInterval.count())};
constexpr std::array kAgentFields{
    BALLAST_FIELD(AgentSettings, "port", port, Form::number, {1, 65535}),
    BALLAST_FIELD(AgentSettings, "interval", interval, Form::duration, kAgentIntervals),
    BALLAST_FIELD(
        AgentSettings, "timeout", timeout, Form::duration,
        {static_cast<std::uint32_t>(checker::kMinTimeout.count()), kAgentIntervals.high})};

constexpr std::array kSpilloverFields{
    BALLAST_FIELD(SpilloverSettings, "overprovisioning", overprovisioning_percent, Form::hundredths,
                  checker::kOverprovisioningLimits),
    BALLAST_FIELD(SpilloverSettings, "prefer_local_zone", prefer_local_zone, Form::flag)};

template <class T, std::size_t N>
constexpr std::array<string_view, N> words_of(const std::array<Field<T>, N>& fields) {
  std::array<string_view, N> words;
  for (std::size_t i = 0; i < N; ++i)
    words[i] = fields[i].info.key;
  return words;
}

constexpr auto kRoot = std::to_array<string_view>({"ballast", "metrics", "service"});
constexpr std::array<string_view, 11> kBallast{"namespace",     "directory",       "workers_group",
                                               "max_workers",   "load_interval",   "max_events",
                                               "zone",          "sticky_key_file", "control_socket",
                                               "control_group", "state_file"};
constexpr std::array<string_view, 20> kService{
    "instances",   "sources",       "strategy",
    "hash",        "bound",         "choices",
    "hot_cold",    "max_in_flight", "service_max_in_flight",
    "max_ejected", "retry_budget",  "panic",
    "stale",       "check",         "agent",
    "breaker",     "outlier",       "slow_start",
    "controller",  "spillover"};
constexpr std::array<string_view, 6> kSource{"file", "dns",     "srv",
                                             "port", "servers", "believe_empty"};
constexpr auto kInstance =
    std::to_array<string_view>({"address", "weight", "tier", "admin", "zone", "check_address"});
constexpr auto kAgent = std::to_array<string_view>({"port", "send", "interval", "timeout"});
constexpr auto kRetryBudget = words_of(kRetryBudgetFields);
constexpr auto kPanic = words_of(kPanicFields);
constexpr auto kStale = words_of(kStaleFields);
constexpr std::array<string_view, 10> kBreaker{"enabled", "consecutive", "failure_rate", "requests",
                                               "window",  "open",        "open_max",     "trial",
                                               "jitter",  "outcomes"};
constexpr auto kOutlier = words_of(kOutlierFields);
constexpr auto kSlowStart = words_of(kSlowStartFields);
constexpr auto kController = words_of(kControllerFields);
constexpr auto kSpillover = words_of(kSpilloverFields);

struct ServiceTable {
  const char* name;
  Words (*keys)();
};
constexpr auto kServiceTables = std::to_array<ServiceTable>({{"check", keys::check},
                                                             {"check.tls", keys::tls},
                                                             {"agent", keys::agent},
                                                             {"breaker", keys::breaker},
                                                             {"outlier", keys::outlier},
                                                             {"slow_start", keys::slow_start},
                                                             {"controller", keys::controller},
                                                             {"spillover", keys::spillover},
                                                             {"retry_budget", keys::retry_budget},
                                                             {"panic", keys::panic},
                                                             {"stale", keys::stale}});

struct Line {
  std::string text;
  std::string limits;
};

template <class T>
void list(std::vector<Line>& lines, const std::string& table, std::span<const Field<T>> fields,
          const T& defaults = {}) {
  for (const Field<T>& field : fields) {
    const std::string value = value_text(field.info, field.get(defaults));
    std::string key = table;
    key.append(field.info.key).append(" = ").append(value);
    lines.push_back({std::move(key), limits_text(field.info)});
  }
}

// A field that is off unless somebody sets it, and has no value that says so.
void list_unset(std::vector<Line>& lines, const std::string& key, const std::string& what) {
  lines.push_back({"# " + key, what});
}

// Keys that are no fields.
void list_by_hand(std::vector<Line>& lines, const std::string& table,
                  std::span<const keys::CheckKey> all) {
  for (const keys::CheckKey& key : all) {
    const std::string word = table + std::string(key.word);
    if (key.limits.empty()) continue;  // a field, or a table
    if (key.value.empty()) {
      list_unset(lines, word, std::string(key.limits));
    } else {
      lines.push_back({word + " = " + std::string(key.value), std::string(key.limits)});
    }
  }
}

}  // namespace

namespace keys {
Words root() {
  return kRoot;
}
Words ballast() {
  return kBallast;
}
Words service() {
  return kService;
}
Words instance() {
  return kInstance;
}
Words source() {
  return kSource;
}
Words agent() {
  return kAgent;
}
Words retry_budget() {
  return kRetryBudget;
}
Words panic() {
  return kPanic;
}
Words stale() {
  return kStale;
}
Words breaker() {
  return kBreaker;
}
Words outlier() {
  return kOutlier;
}
Words slow_start() {
  return kSlowStart;
}
Words controller() {
  return kController;
}
Words spillover() {
  return kSpillover;
}

std::span<const Field<checker::Settings>> ballast_fields() {
  return kBallastFields;
}
std::span<const Field<InstanceSettings>> instance_fields() {
  return kInstanceFields;
}
std::span<const Field<SourceSettings>> source_fields() {
  return kSourceFields;
}
std::span<const Field<Policy>> service_fields() {
  return kServiceFields;
}
std::span<const Field<AgentSettings>> agent_fields() {
  return kAgentFields;
}
std::span<const Field<Policy>> retry_budget_fields() {
  return kRetryBudgetFields;
}
std::span<const Field<Policy>> panic_fields() {
  return kPanicFields;
}
std::span<const Field<Policy>> stale_fields() {
  return kStaleFields;
}
std::span<const Field<Policy>> breaker_fields() {
  return kBreakerFields;
}
std::span<const Field<OutlierSettings>> outlier_fields() {
  return kOutlierFields;
}
std::span<const Field<SlowStartSettings>> slow_start_fields() {
  return kSlowStartFields;
}
std::span<const Field<ControllerSettings>> controller_fields() {
  return kControllerFields;
}
std::span<const Field<SpilloverSettings>> spillover_fields() {
  return kSpilloverFields;
}

const FieldInfo& strategy() {
  return kStrategy;
}
const FieldInfo& hash() {
  return kHash;
}
const FieldInfo& breaker_enabled() {
  return kBreakerEnabled;
}
}  // namespace keys

std::string home_of(const std::string& key, const std::string& service) {
  const std::string name = service.empty() ? "service.NAME" : service;
  if (contains(kBallast, key)) return "[ballast]";
  if (contains(keys::metrics(), key)) return "[metrics]";
  if (contains(kService, key)) return "[" + name + "]";
  if (contains(kInstance, key)) {
    return "the instance: { address = \"HOST:PORT\", weight = 5 }";
  }
  std::string homes;
  if (contains(kSource, key)) homes = "[[" + name + ".sources]]";
  for (const ServiceTable& table : kServiceTables) {
    if (!contains(table.keys(), key)) continue;
    homes += (homes.empty() ? "[" : " or [") + name + "." + table.name + "]";
  }
  return homes;
}

std::string defaults_text() {
  const std::string name = "a name: letters, digits, '.', '_' and '-', at most " +
                           std::to_string(checker::kMaxServiceNameBytes) + " bytes";
  const Policy policy;
  const std::string service = "service.NAME.";
  std::vector<Line> lines;
  lines.push_back({"ballast.namespace = \"default\"", name});
  list_unset(lines, "ballast.directory", "an absolute path; /dev/shm/ballast/NAMESPACE");
  list_unset(lines, "ballast.workers_group", "a group that exists; only the same user");
  list<checker::Settings>(lines, "ballast.", kBallastFields);
  list_unset(lines, "ballast.zone", name + "; zones do not matter");
  list_unset(lines, "ballast.sticky_key_file", "an absolute path; no sticky sessions");
  list_unset(lines, "ballast.control_socket", "an absolute path; control in the directory");
  list_unset(lines, "ballast.control_group", "a group that exists; only the same user");
  list_unset(lines, "ballast.state_file",
             "an absolute path; NAMESPACE.changes in --state, else changes in the directory");
  list_unset(lines, "metrics.listen", "an address, ADDRESS:PORT; no metrics");
  list<checker::Settings>(lines, "metrics.", keys::metrics_fields());
  list_unset(lines, service + "instances", "addresses; required");
  list<InstanceSettings>(lines, service + "instances.", kInstanceFields);
  list_unset(lines, service + "instances.zone", name + "; the host's own");
  list_unset(lines, service + "instances.check_address", "HOST:PORT; where it serves");
  list_unset(lines, service + "sources.file", "an absolute path; one of the three");
  list_unset(lines, service + "sources.dns", "a name in DNS; one of the three");
  list_unset(lines, service + "sources.srv", "a name in DNS; one of the three");
  list_unset(lines, service + "sources.port", "1 to 65535; required with dns");
  list_unset(lines, service + "sources.servers",
             "1 to " + std::to_string(checker::kMaxNameServers) + " addresses; the system's");
  list_unset(lines, service + "sources.believe_empty",
             limits_text(kSourceFields[1].info) + "; false");
  lines.push_back({service + "strategy = " + value_text(kStrategy, keys::kConsistentHash),
                   limits_text(kStrategy)});
  lines.push_back(
      {service + "hash = " + value_text(kHash, number_of(policy.strategy)), limits_text(kHash)});
  list<Policy>(lines, service, kServiceFields);
  list_unset(lines, service + "retry_budget.share", "\"1%\" to \"100%\"; unlimited");
  list<Policy>(lines, service + "retry_budget.", std::span(kRetryBudgetFields).subspan(1));
  list_unset(lines, service + "panic.below", "\"1%\" to \"100%\"; no panic");
  list<Policy>(lines, service + "panic.", std::span(kPanicFields).subspan(1));
  list<Policy>(lines, service + "stale.", kStaleFields);
  list<CheckSettings>(lines, service + "check.", keys::check_fields());
  list_by_hand(lines, service + "check.", keys::check_keys());
  // A table that is there is meant.
  checker::TlsSettings tls;
  tls.enabled = true;
  list<checker::TlsSettings>(lines, service + "check.tls.", keys::tls_fields(), tls);
  list_by_hand(lines, service + "check.tls.", keys::tls_keys());
  // All of them mean nothing without the first.
  list_unset(lines, service + "agent.port", limits_text(kAgentFields[0].info) + "; no agent");
  list_unset(lines, service + "agent.send", "a text; nothing");
  for (const Field<AgentSettings>& field : std::span(kAgentFields).subspan(1)) {
    list_unset(lines, service + "agent." + std::string(field.info.key),
               limits_text(field.info) + "; " + value_text(field.info, field.get({})));
  }
  lines.push_back({service + "breaker.enabled = true", limits_text(kBreakerEnabled)});
  list<Policy>(lines, service + "breaker.", kBreakerFields);
  list<OutlierSettings>(lines, service + "outlier.", kOutlierFields);
  list<SlowStartSettings>(lines, service + "slow_start.", kSlowStartFields);
  list<ControllerSettings>(lines, service + "controller.", kControllerFields);
  list<SpilloverSettings>(lines, service + "spillover.", kSpilloverFields);

  std::size_t width = 0;
  for (const Line& line : lines)
    width = std::max(width, std::min<std::size_t>(line.text.size(), 60));
  std::string out;
  for (const Line& line : lines) {
    out += line.text;
    out.append(width > line.text.size() ? width - line.text.size() : 0, ' ');
    out += "  # " + line.limits + "\n";
  }
  return out;
}

}  // namespace ballast::tools
