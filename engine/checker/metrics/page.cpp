// The families: each one's name, type and help, and how its samples are made of a survey.
#include "engine/checker/metrics/page.hpp"

#include <array>
#include <span>

#include "engine/checker/metrics/exposition.hpp"
#include "engine/group_word.hpp"
#include "engine/latency_buckets.hpp"
#include "engine/strategy.hpp"

namespace ballast::checker {
namespace {

using std::string_view;
using Index = shm::CounterIndex;

constexpr double kNs = 1e9;

struct Family {
  string_view name;
  MetricType type;
  string_view help;
};
struct HostFamily : Family {
  void (*write)(Exposition&, string_view name, const Survey&);
};
struct ServiceFamily : Family {
  void (*write)(Exposition&, string_view name, const ServiceSurvey&);
};
struct InstanceFamily : Family {
  void (*write)(Exposition&, string_view name, const InstanceSurvey&);
};

constexpr auto kCounter = MetricType::counter;
constexpr auto kGauge = MetricType::gauge;
constexpr auto kHistogram = MetricType::histogram;

std::string with(string_view labels, string_view name, string_view value) {
  std::string text(labels);
  append_label(text, name, value);
  return text;
}

constexpr std::array<std::pair<Index, string_view>, 8> kOutcomes{
    {{shm::kSuccess, "success"},
     {shm::kConnectFailure, "connect_failure"},
     {shm::kTimeout, "timeout"},
     {shm::kReset, "reset"},
     {shm::kServerError, "server_error"},
     {shm::kOverload, "overload"},
     {shm::kCancelled, "cancelled"},
     {shm::kAbandoned, "abandoned"}}};

void write_outcomes(Exposition& to, string_view name, string_view labels,
                    const inspect::Counters& counters) {
  for (const auto& [index, text] : kOutcomes)
    to.sample(name, with(labels, "outcome", text), counters[index]);
}

double seconds_of_us(std::uint64_t us) {
  return static_cast<double>(us) / 1e6;
}

void write_latency(Exposition& to, string_view name, const ServiceSurvey& s) {
  const std::string bucket = std::string(name) + "_bucket";
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < s.latency.size(); ++i) {
    below += s.latency[i];
    const bool last = i == engine::kLatencyBoundsUs.size();
    std::string bound = "+Inf";
    if (!last) {
      bound = std::to_string(seconds_of_us(engine::kLatencyBoundsUs[i]));
      bound.erase(bound.find_last_not_of('0') + 1);
      if (bound.ends_with('.')) bound += '0';
    }
    to.sample(bucket, with(s.labels, "le", bound), below);
  }
  to.sample(std::string(name) + "_sum", s.labels, seconds_of_us(s.latency_sum_us));
  to.sample(std::string(name) + "_count", s.labels, below);
}

// --- of the host -------------------------------------------------------------------------------

#define BALLAST_HOST [](Exposition & to, string_view name, const Survey& s)
#define BALLAST_SERVICE [](Exposition & to, string_view name, const ServiceSurvey& s)
#define BALLAST_INSTANCE [](Exposition & to, string_view name, const InstanceSurvey& s)

constexpr std::uint64_t one_if(bool yes) {
  return yes ? 1 : 0;
}

// Of this process.
constexpr auto kOwnFamilies = std::to_array<HostFamily>({
    {{"ballast_build_info", kGauge, "Which Ballast this is; always 1."},
     BALLAST_HOST {
       std::string labels;
       append_label(labels, "version", s.version);
       append_label(labels, "layout", std::to_string(shm::kMajor));
       to.sample(name, labels, std::uint64_t{1});
}  // namespace
}  // namespace ballast::checker
, {{"ballast_table_readable", kGauge,
    "Whether the table could be read for this scrape; if not, what is in it is left out."},
   BALLAST_HOST{to.sample(name, {}, one_if(s.error.empty()));
}
}
, {{"ballast_checker_in_charge", kGauge,
    "Whether this process holds the lease, so that what is in the table is its own."},
   BALLAST_HOST{to.sample(name, {}, one_if(s.loop.in_charge));
}
}
, {{"ballast_loop_info", kGauge, "How the checker does its I/O; always 1."},
   BALLAST_HOST{
       to.sample(name, with({}, "backend", s.loop.backend == Backend::epoll ? "epoll" : "io_uring"),
                 std::uint64_t{1});
}
}
, {{"ballast_loop_streams_open", kGauge, "Connections of checks that are open."},
   BALLAST_HOST{to.sample(name, {}, std::uint64_t{s.loop.streams_open});
}
}
, {{"ballast_loop_streams_limit", kGauge, "Connections of checks that may be open at once."},
   BALLAST_HOST{to.sample(name, {}, std::uint64_t{s.loop.streams_limit});
}
}
, {{"ballast_prober_targets", kGauge, "Instances that are checked."},
   BALLAST_HOST{to.sample(name, {}, std::uint64_t{s.loop.prober.targets});
}
}
, {{"ballast_prober_checks_total", kCounter, "Checks that came to a result."},
   BALLAST_HOST{to.sample(name, {}, s.loop.prober.checks);
}
}
, {{"ballast_prober_connects_total", kCounter, "Connections opened for checks."},
   BALLAST_HOST{to.sample(name, {}, s.loop.prober.connects);
}
}
, {{"ballast_prober_connections_kept", kGauge, "Idle connections that are watched."},
   BALLAST_HOST{to.sample(name, {}, std::uint64_t{s.loop.prober.kept});
}
}
, {{"ballast_prober_connections_lost_total", kCounter,
    "Kept connections that the other side ended."},
   BALLAST_HOST{to.sample(name, {}, s.loop.prober.connections_lost);
}
}
, {{"ballast_prober_repeats_total", kCounter,
    "Checks made again at once, by why: a kept connection was gone already, or the first try "
    "after a lost one failed."},
   BALLAST_HOST{
       to.sample(name, with({}, "reason", "stale_connection"), s.loop.prober.stale_retries);
to.sample(name, with({}, "reason", "lost_connection"), s.loop.prober.second_attempts);
}
}
, {{"ballast_prober_no_result_total", kCounter,
    "Checks that could not be made for lack of something here: descriptors, ports."},
   BALLAST_HOST{to.sample(name, {}, s.loop.prober.no_result);
}
}
, {{"ballast_prober_postponed_total", kCounter,
    "Checks put off because all connections were in use."},
   BALLAST_HOST{to.sample(name, {}, s.loop.prober.postponed);
}
}
, {{"ballast_metrics_readings_total", kCounter, "Readings of the table for scrapes."},
   BALLAST_HOST{to.sample(name, {}, s.number);
}
}
, {{"ballast_metrics_reading_cpu_seconds", kGauge,
    "Processor time that this reading of the table took."},
   BALLAST_HOST{to.sample(name, {}, s.cost_seconds);
}
}
, {{"process_cpu_seconds_total", kCounter, "Processor time of this process, all threads."},
   BALLAST_HOST{to.sample(name, {}, s.process.cpu_seconds);
}
}
, {{"process_resident_memory_bytes", kGauge, "Resident memory of this process."},
   BALLAST_HOST{to.sample(name, {}, s.process.resident_bytes);
}
}
, {{"process_open_fds", kGauge, "Open file descriptors; 0 where the kernel does not say."},
   BALLAST_HOST{to.sample(name, {}, s.process.open_descriptors);
}
}
, {{"process_max_fds", kGauge, "File descriptors that may be open at once."},
   BALLAST_HOST{to.sample(name, {}, s.process.descriptor_limit);
}
}
, {{"process_start_time_seconds", kGauge, "When this process started."},
   BALLAST_HOST{to.sample(name, {}, s.process.started);
}
}
,
});

// Of what is in the table; without samples where it cannot be read.
constexpr auto kTableFamilies = std::to_array<HostFamily>({
    {{"ballast_checker_term", kGauge, "How often the lease has been taken."},
     BALLAST_HOST { to.sample(name, {}, s.head.term);
}
}
, {{"ballast_checker_since_timestamp_seconds", kGauge, "When the lease was taken last."},
   BALLAST_HOST{to.sample(name, {}, static_cast<double>(s.head.checker_since_ns) / kNs);
}
}
, {{"ballast_heartbeats_total", kCounter, "Beats of the checker, ten a second."},
   BALLAST_HOST{to.sample(name, {}, s.head.heartbeat);
}
}
, {{"ballast_heartbeat_timestamp_seconds", kGauge, "When the checker's heart beat last."},
   BALLAST_HOST{to.sample(name, {}, static_cast<double>(s.head.heartbeat_ns) / kNs);
}
}
, {{"ballast_segment_created_timestamp_seconds", kGauge,
    "When the active segment was made: a new one is made when there is no room left."},
   BALLAST_HOST{to.sample(name, {}, static_cast<double>(s.head.created_ns) / kNs);
}
}
, {{"ballast_segment_draining", kGauge, "Whether workers are still in the segment before."},
   BALLAST_HOST{to.sample(name, {}, one_if(s.head.previous_segment != 0));
}
}
, {{"ballast_segment_bytes", kGauge, "Sizes of the active segment's files, holes included."},
   BALLAST_HOST{to.sample(name, with({}, "file", "table"), s.head.table_bytes);
to.sample(name, with({}, "file", "workers"), s.head.workers_bytes);
}
}
, {{"ballast_services", kGauge, "Services that are published."},
   BALLAST_HOST{to.sample(name, {}, std::uint64_t{s.services.size()});
}
}
, {{"ballast_services_limit", kGauge, "Services that the active segment has room for."},
   BALLAST_HOST{to.sample(name, {}, s.head.service_capacity);
}
}
, {{"ballast_slots_used", kGauge, "Slots with an instance, the leaving ones included."},
   BALLAST_HOST{to.sample(name, {}, s.slots_used);
}
}
, {{"ballast_slots_limit", kGauge, "Slots of the active segment."},
   BALLAST_HOST{to.sample(name, {}, s.head.instance_capacity);
}
}
, {{"ballast_rows_claimed", kGauge, "Worker threads that are attached."},
   BALLAST_HOST{to.sample(name, {}, s.rows_claimed);
}
}
, {{"ballast_rows_limit", kGauge, "Worker threads that may be attached at once."},
   BALLAST_HOST{to.sample(name, {}, s.head.row_capacity);
}
}
, {{"ballast_rows_reaped_total", kCounter,
    "Rows whose owners died without leaving; starts again with a new segment."},
   BALLAST_HOST{to.sample(name, {}, s.rows_reaped);
}
}
, {{"ballast_events_total", kCounter,
    "Transitions in the flight recorder, by who wrote them; starts again with a new segment."},
   BALLAST_HOST{to.sample(name, with({}, "writer", "checker"), s.table_events);
to.sample(name, with({}, "writer", "worker"), s.worker_events);
}
}
, {{"ballast_metrics_instances_omitted", kGauge,
    "Instances that have no series of their own: all that are well, where there are more than "
    "metrics.max_instances."},
   BALLAST_HOST{to.sample(name, {}, s.omitted);
}
}
,
});

// --- of each service ---------------------------------------------------------------------------

constexpr auto kServiceFamilies = std::to_array<ServiceFamily>({
    {{"ballast_service_info", kGauge, "The service's strategy; always 1."},
     BALLAST_SERVICE {
       const auto strategy = engine::strategy_of(s.view.strategy);
       to.sample(name, with(s.labels, "strategy", strategy ? engine::to_text(*strategy) : "unknown"),
                 std::uint64_t{1});
}
}
, {{"ballast_service_epoch", kGauge, "The number of the published generation."},
   BALLAST_SERVICE{to.sample(name, s.labels, s.view.epoch);
}
}
, {{"ballast_service_published_timestamp_seconds", kGauge, "When that was published."},
   BALLAST_SERVICE{to.sample(name, s.labels, static_cast<double>(s.view.changed_ns) / kNs);
}
}
, {{"ballast_service_instances", kGauge, "Instances by state; each is in exactly one."},
   BALLAST_SERVICE{for (std::size_t i = 0; i < kMoodCount; ++i) to.sample(
       name, with(s.labels, "state", to_text(static_cast<InstanceMood>(i))), s.moods[i]);
}
}
, {{"ballast_service_out", kGauge,
    "Instances that breakers and outlier detection keep out, as max_ejected counts them."},
   BALLAST_SERVICE{to.sample(name, s.labels, s.view.out);
}
}
, {{"ballast_service_panic", kGauge, "Groups of instances (a tier, near or far) in panic."},
   BALLAST_SERVICE{std::uint64_t panics = 0;
for (const inspect::GroupView& group : s.view.groups)
  panics += one_if(group.panic != engine::PanicMode::none);
to.sample(name, s.labels, panics);
}
}
, {{"ballast_service_share_ratio", kGauge, "The part of the picks that each group gets."},
   BALLAST_SERVICE{for (const inspect::GroupView& group : s.view.groups){
       std::string labels = with(s.labels, "tier", std::to_string(group.tier));
append_label(labels, "zone", group.is_local ? "near" : "far");
to.sample(name, labels, group.share);
}
}
}
, {{"ballast_service_picks_total", kCounter,
    "Requests that were given an instance, since this ballastd started."},
   BALLAST_SERVICE{to.sample(name, s.labels, s.counters[shm::kStarted]);
}
}
, {{"ballast_service_outcomes_total", kCounter,
    "How requests ended, since this ballastd started; abandoned: their worker died."},
   BALLAST_SERVICE{write_outcomes(to, name, s.labels, s.counters);
}
}
, {{"ballast_service_in_flight", kGauge, "Requests that have not ended, of all workers."},
   BALLAST_SERVICE{to.sample(name, s.labels, s.in_flight);
}
}
,
    {{"ballast_service_request_duration_seconds", kHistogram,
      "How long requests took: those that succeeded, timed out, or met an overloaded instance, "
      "where the worker said so. Goes on when ballastd starts again."},
     write_latency},
    {{"ballast_service_checks_total", kCounter,
      "Checks of its instances, since this ballastd started."},
     BALLAST_SERVICE{to.sample(name, s.labels, s.checks);
}
}
, {{"ballast_service_check_failures_total", kCounter, "Those that failed."},
   BALLAST_SERVICE{to.sample(name, s.labels, s.check_failures);
}
}
, {{"ballast_service_health_changes_total", kCounter,
    "Changes of health of its instances, since this ballastd started."},
   BALLAST_SERVICE{to.sample(name, s.labels, s.flips);
}
}
,
});

// --- of each instance --------------------------------------------------------------------------

constexpr auto kInstanceFamilies = std::to_array<InstanceFamily>({
    {{"ballast_instance_usable", kGauge, "Whether picks may use it, for its share."},
     BALLAST_INSTANCE { to.sample(name, s.labels, one_if(s.view.state.usable));
}
}
, {{"ballast_instance_up", kGauge, "Whether its checks say that it is well."},
   BALLAST_INSTANCE{to.sample(name, s.labels, one_if(s.view.state.health == shm::Health::up));
}
}
, {{"ballast_instance_ejected", kGauge, "Whether outlier detection or an operator ejected it."},
   BALLAST_INSTANCE{to.sample(name, s.labels, one_if(s.view.state.ejected));
}
}
, {{"ballast_instance_admin_state", kGauge, "0: ready, 1: drain, 2: maintenance."},
   BALLAST_INSTANCE{to.sample(name, s.labels, static_cast<std::uint64_t>(s.view.state.admin));
}
}
, {{"ballast_instance_breaker_state", kGauge, "0: closed, 1: half open, 2: open."},
   BALLAST_INSTANCE{const bool half = s.view.breaker.state == engine::BreakerState::half_open;
const bool open = s.view.breaker.state == engine::BreakerState::open;
to.sample(name, s.labels, std::uint64_t{open ? 2U : half ? 1U : 0U});
}
}
, {{"ballast_instance_weight", kGauge, "Its effective weight, in configured units."},
   BALLAST_INSTANCE{to.sample(name, s.labels, inspect::effective_weight(s.view));
}
}
, {{"ballast_instance_in_flight", kGauge, "Requests that have not ended, of all workers."},
   BALLAST_INSTANCE{to.sample(name, s.labels, inspect::in_flight_of(s.view.counters));
}
}
, {{"ballast_instance_picks_total", kCounter, "Requests that were given this instance."},
   BALLAST_INSTANCE{to.sample(name, s.labels, s.view.counters[shm::kStarted]);
}
}
, {{"ballast_instance_outcomes_total", kCounter, "How they ended."},
   BALLAST_INSTANCE{write_outcomes(to, name, s.labels, s.view.counters);
}
}
, {{"ballast_instance_latency_seconds", kGauge,
    "Moving average of how long requests take, where the strategy keeps one."},
   BALLAST_INSTANCE{if (s.view.latency_us != 0)
                        to.sample(name, s.labels, seconds_of_us(s.view.latency_us));
}
}
, {{"ballast_instance_checks_total", kCounter, "Checks of this instance."},
   BALLAST_INSTANCE{to.sample(name, s.labels, s.view.checks);
}
}
, {{"ballast_instance_check_failures_total", kCounter, "Those that failed."},
   BALLAST_INSTANCE{to.sample(name, s.labels, s.view.check_failures);
}
}
, {{"ballast_instance_check_duration_seconds", kGauge, "How long the last check took."},
   BALLAST_INSTANCE{if (s.view.checks != 0)
                        to.sample(name, s.labels, seconds_of_us(s.view.check_us));
}
}
, {{"ballast_instance_health_changes_total", kCounter, "Changes of its health."},
   BALLAST_INSTANCE{to.sample(name, s.labels, s.view.flips);
}
}
,
});

#undef BALLAST_HOST
#undef BALLAST_SERVICE
#undef BALLAST_INSTANCE

// Appends the items of a family from `item` on; true when it has come to the last. One item at
// least, so that the head of a family is never written without one, to be written again.
template <class F, class Item>
bool append_items(const F& family, std::span<const Item> items, std::size_t& item, std::string& out,
                  std::size_t want) {
  Exposition to(out);
  if (item == 0) to.family(family.name, family.type, family.help);
  bool is_first = true;
  for (; item < items.size() && (is_first || out.size() < want); ++item) {
    family.write(to, family.name, items[item]);
    is_first = false;
  }
  return item == items.size();
}

}  // namespace

bool Page::append(std::string& out, std::size_t want) {
  constexpr std::size_t kTableFrom = kOwnFamilies.size();
  constexpr std::size_t kServicesFrom = kTableFrom + kTableFamilies.size();
  constexpr std::size_t kInstancesFrom = kServicesFrom + kServiceFamilies.size();
  constexpr std::size_t kEnd = kInstancesFrom + kInstanceFamilies.size();
  const std::span<const Survey> once(survey_.get(), 1);
  const auto of_table = survey_->error.empty() ? once : once.first(0);
  while (family_ < kEnd && out.size() < want) {
    bool done = false;
    if (family_ < kTableFrom) {
      done = append_items(kOwnFamilies[family_], once, item_, out, want);
    } else if (family_ < kServicesFrom) {
      done = append_items(kTableFamilies[family_ - kTableFrom], of_table, item_, out, want);
    } else if (family_ < kInstancesFrom) {
      done = append_items(kServiceFamilies[family_ - kServicesFrom],
                          std::span<const ServiceSurvey>(survey_->services), item_, out, want);
    } else {
      done = append_items(kInstanceFamilies[family_ - kInstancesFrom],
                          std::span<const InstanceSurvey>(survey_->instances), item_, out, want);
    }
    if (!done) continue;
    ++family_;
    item_ = 0;
  }
  return family_ < kEnd;
}

}  // namespace ballast::checker
