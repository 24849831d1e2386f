// The families of services, and those of single instances.
#include <array>

#include "engine/checker/metrics/families.hpp"
#include "engine/group_word.hpp"
#include "engine/latency_buckets.hpp"
#include "engine/strategy.hpp"

namespace ballast::checker {
namespace {

constexpr auto kCounter = MetricType::counter;
constexpr auto kGauge = MetricType::gauge;

std::string with(std::string_view labels, std::string_view name, std::string_view value) {
  std::string text(labels);
  append_label(text, name, value);
  return text;
}

double seconds_of_us(std::uint64_t us) {
  return static_cast<double>(us) / 1e6;
}

void write_outcomes(Samples& to, std::string_view labels, const inspect::Counters& counters) {
  constexpr auto kNames =
      std::to_array<std::string_view>({"success", "connect_failure", "timeout", "reset",
                                       "server_error", "overload", "cancelled", "abandoned"});
  static_assert(kNames.size() == shm::kLastOutcome - shm::kFirstOutcome + 1);
  for (unsigned i = shm::kFirstOutcome; i <= shm::kLastOutcome; ++i)
    to.put(with(labels, "outcome", kNames[i - shm::kFirstOutcome]), counters[i]);
}

void write_durations(Samples& to, const ServiceSurvey& s) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < s.latency.buckets.size(); ++i) {
    below += s.latency.buckets[i];
    to.put_part("_bucket",
                with(s.labels, "le",
                     i < engine::kLatencyBoundsUs.size() ? bound_text(engine::kLatencyBoundsUs[i])
                                                         : "+Inf"),
                below);
  }
  to.put_part("_sum", s.labels, seconds_of_us(s.latency.sum_us));
  to.put_part("_count", s.labels, below);
}

void write_strategy(Samples& to, const ServiceSurvey& s) {
  const auto strategy = engine::strategy_of(s.view.strategy);
  to.put(with(s.labels, "strategy", strategy ? engine::to_text(*strategy) : "unknown"), 1);
}

void write_moods(Samples& to, const ServiceSurvey& s) {
  for (std::size_t i = 0; i < kMoodCount; ++i)
    to.put(with(s.labels, "state", to_text(static_cast<InstanceMood>(i))), s.moods[i]);
}

void write_down(Samples& to, const ServiceSurvey& s) {
  for (std::size_t i = 0; i < s.down.size(); ++i) {
    const char* const reason = shm::to_text(static_cast<shm::Reason>(i));
    if (s.down[i] != 0) to.put(with(s.labels, "reason", reason), s.down[i]);
  }
}

void write_panic(Samples& to, const ServiceSurvey& s) {
  std::uint64_t panics = 0;
  for (const inspect::GroupView& group : s.view.groups)
    panics += group.panic != engine::PanicMode::none ? 1 : 0;
  to.put(s.labels, panics);
}

void write_shares(Samples& to, const ServiceSurvey& s) {
  for (const inspect::GroupView& group : s.view.groups) {
    std::string labels = with(s.labels, "tier", std::to_string(group.tier));
    append_label(labels, "zone", group.is_local ? "near" : "far");
    to.put(labels, group.share);
  }
}

constexpr std::array kServices = std::to_array<Family<ServiceSurvey>>({
    {"ballast_service_info", kGauge, "The service's strategy; always 1.", write_strategy},
    {"ballast_service_epoch", kGauge, "The number of the published generation.",
     [](Samples& to, const ServiceSurvey& s) { to.put(s.labels, s.view.epoch); }},
    {"ballast_service_published_timestamp_seconds", kGauge, "When that was published.",
     [](Samples& to, const ServiceSurvey& s) {
       to.put(s.labels, static_cast<double>(s.view.changed_ns) / 1e9);
     }},
    {"ballast_service_instances", kGauge, "Instances by state; each is in exactly one.",
     write_moods},
    {"ballast_service_down", kGauge,
     "Instances that are down, by why; of those reasons that there are.", write_down},
    {"ballast_service_out", kGauge,
     "Instances that breakers and outlier detection keep out, as `max_ejected` counts them.",
     [](Samples& to, const ServiceSurvey& s) { to.put(s.labels, s.view.out); }},
    {"ballast_service_panic", kGauge, "Groups of instances (a tier, near or far) in panic.",
     write_panic},
    {"ballast_service_share_ratio", kGauge, "The part of the picks that each group gets.",
     write_shares},
    {"ballast_service_picks_total", kCounter,
     "Requests that were given an instance, since this ballastd started.",
     [](Samples& to, const ServiceSurvey& s) { to.put(s.labels, s.counters[shm::kStarted]); }},
    {"ballast_service_outcomes_total", kCounter,
     "How requests ended, since this ballastd started; abandoned: their worker died.",
     [](Samples& to, const ServiceSurvey& s) { write_outcomes(to, s.labels, s.counters); }},
    {"ballast_service_in_flight", kGauge, "Requests that have not ended, of all workers.",
     [](Samples& to, const ServiceSurvey& s) { to.put(s.labels, s.in_flight); }},
    {"ballast_service_request_duration_seconds", MetricType::histogram,
     "How long requests took that succeeded, timed out or met overload, where the worker said it. "
     "Goes on when ballastd starts again.",
     write_durations},
    {"ballast_service_checks_total", kCounter,
     "Checks of its instances, since this ballastd started.",
     [](Samples& to, const ServiceSurvey& s) { to.put(s.labels, s.checks); }},
    {"ballast_service_check_failures_total", kCounter,
     "Those that failed, since this ballastd started.",
     [](Samples& to, const ServiceSurvey& s) { to.put(s.labels, s.check_failures); }},
    {"ballast_service_health_changes_total", kCounter,
     "Changes of health of its instances, since this ballastd started.",
     [](Samples& to, const ServiceSurvey& s) { to.put(s.labels, s.flips); }},
});

std::uint64_t breaker_number(engine::BreakerState state) {
  switch (state) {
    case engine::BreakerState::closed:
      break;
    case engine::BreakerState::half_open:
      return 1;
    case engine::BreakerState::open:
      return 2;
  }
  return 0;
}

constexpr std::array kInstances = std::to_array<Family<InstanceSurvey>>({
    {"ballast_instance_usable", kGauge, "Whether picks may use it, for its share.",
     [](Samples& to, const InstanceSurvey& s) { to.put(s.labels, s.view.state.usable ? 1 : 0); }},
    {"ballast_instance_up", kGauge, "Whether its checks say that it is well.",
     [](Samples& to, const InstanceSurvey& s) {
       to.put(s.labels, s.view.state.health == shm::Health::up ? 1 : 0);
     }},
    {"ballast_instance_ejected", kGauge, "Whether outlier detection or an operator ejected it.",
     [](Samples& to, const InstanceSurvey& s) { to.put(s.labels, s.view.state.ejected ? 1 : 0); }},
    {"ballast_instance_admin_state", kGauge, "0: ready, 1: drain, 2: maintenance.",
     [](Samples& to, const InstanceSurvey& s) {
       to.put(s.labels, static_cast<std::uint64_t>(s.view.state.admin));
     }},
    {"ballast_instance_breaker_state", kGauge, "0: closed, 1: half open, 2: open.",
     [](Samples& to, const InstanceSurvey& s) {
       to.put(s.labels, breaker_number(s.view.breaker.state));
     }},
    {"ballast_instance_weight", kGauge, "Its effective weight, in configured units.",
     [](Samples& to, const InstanceSurvey& s) {
       to.put(s.labels, inspect::effective_weight(s.view));
     }},
    {"ballast_instance_in_flight", kGauge, "Requests that have not ended, of all workers.",
     [](Samples& to, const InstanceSurvey& s) {
       to.put(s.labels, inspect::in_flight_of(s.view.counters));
     }},
    {"ballast_instance_picks_total", kCounter, "Requests that were given this instance.",
     [](Samples& to, const InstanceSurvey& s) {
       to.put(s.labels, s.view.counters[shm::kStarted]);
     }},
    {"ballast_instance_outcomes_total", kCounter, "How they ended.",
     [](Samples& to, const InstanceSurvey& s) { write_outcomes(to, s.labels, s.view.counters); }},
    {"ballast_instance_latency_seconds", kGauge,
     "Moving average of how long requests take, where the strategy keeps one.",
     [](Samples& to, const InstanceSurvey& s) {
       if (s.view.latency_us != 0) to.put(s.labels, seconds_of_us(s.view.latency_us));
     }},
    {"ballast_instance_checks_total", kCounter, "Checks of this instance.",
     [](Samples& to, const InstanceSurvey& s) { to.put(s.labels, s.view.checks); }},
    {"ballast_instance_check_failures_total", kCounter, "Those that failed.",
     [](Samples& to, const InstanceSurvey& s) { to.put(s.labels, s.view.check_failures); }},
    {"ballast_instance_check_duration_seconds", kGauge, "How long the last check took.",
     [](Samples& to, const InstanceSurvey& s) {
       if (s.view.checks != 0) to.put(s.labels, seconds_of_us(s.view.check_us));
     }},
    {"ballast_instance_health_changes_total", kCounter, "Changes of its health.",
     [](Samples& to, const InstanceSurvey& s) { to.put(s.labels, s.view.flips); }},
});

}  // namespace

std::span<const Family<ServiceSurvey>> service_families() noexcept {
  return kServices;
}
std::span<const Family<InstanceSurvey>> instance_families() noexcept {
  return kInstances;
}

}  // namespace ballast::checker
