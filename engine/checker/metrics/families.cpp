// The families of the host: of this process, and of its table.
#include "engine/checker/metrics/families.hpp"

#include <algorithm>
#include <array>

namespace ballast::checker {
namespace {

constexpr auto kCounter = MetricType::counter;
constexpr auto kGauge = MetricType::gauge;
constexpr double kNs = 1e9;

std::string label(std::string_view name, std::string_view value) {
  std::string text;
  append_label(text, name, value);
  return text;
}

double seconds(std::uint64_t ns) {
  return static_cast<double>(ns) / kNs;
}

void write_build(Samples& to, const Survey& s) {
  std::string labels = label("version", s.version);
  append_label(labels, "layout", std::to_string(shm::kMajor));
  to.put(labels, 1);
}

void write_backend(Samples& to, const Survey& s) {
  to.put(label("backend", s.loop.backend == Backend::epoll ? "epoll" : "io_uring"), 1);
}

void write_repeats(Samples& to, const Survey& s) {
  to.put(label("reason", "stale_connection"), s.loop.prober.stale_retries);
  to.put(label("reason", "lost_connection"), s.loop.prober.second_attempts);
}

void write_times(Samples& to, const TimeHistogram& times, const std::string& labels = {}) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < times.counts.size(); ++i) {
    below += times.counts[i];
    const bool is_last = i == TimeHistogram::kBounds.size();
    std::string all = labels;
    append_label(
        all, "le",
        is_last ? "+Inf" : bound_text(static_cast<std::uint64_t>(TimeHistogram::kBounds[i])));
    to.put_part("_bucket", all, below);
  }
  to.put_part("_sum", labels, static_cast<double>(times.sum_us) / 1e6);
  to.put_part("_count", labels, below);
}

template <class Value>
void write_sources(Samples& to, const Survey& s, Value&& value) {
  for (const SourceStatus& source : s.loop.sources) {
    std::string labels = label("service", source.service);
    append_label(labels, "source", std::to_string(source.source));
    append_label(labels, "name", source.name);
    to.put(labels, value(source));
  }
}

constexpr std::array kOwn =
    std::to_array<Family<Survey>>(
        {
            {"ballast_build_info", kGauge, "Which Ballast this is; always 1.", write_build},
            {"ballast_table_readable", kGauge,
             "Whether the table could be read for this scrape; if not, what is in it is left out.",
             [](Samples& to, const Survey& s) { to.put({}, s.error.empty() ? 1 : 0); }},
            {"ballast_checker_in_charge", kGauge,
             "Whether this process holds the lease, so that what is in the table is its own.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.in_charge ? 1 : 0); }},
            {"ballast_loop_info", kGauge, "How the checker does its I/O; always 1.", write_backend},
            {"ballast_loop_streams_open", kGauge, "Connections of checks that are open.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.streams_open); }},
            {"ballast_loop_streams_limit", kGauge,
             "Connections of checks that may be open at once.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.streams_limit); }},
            {"ballast_prober_targets", kGauge, "Instances that are checked.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.targets); }},
            {"ballast_prober_checks_total", kCounter, "Checks that came to a result.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.checks); }},
            {"ballast_prober_connects_total", kCounter, "Connections opened for checks.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.connects); }},
            {"ballast_prober_connections_kept", kGauge, "Idle connections that are watched.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.kept); }},
            {"ballast_prober_connections_lost_total", kCounter,
             "Kept connections that the other side ended.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.connections_lost); }},
            {"ballast_prober_repeats_total", kCounter,
             "Checks made again at once, by why: a kept connection was gone already, or the first "
             "try "
             "after a lost one failed.",
             write_repeats},
            {"ballast_prober_no_result_total", kCounter,
             "Checks that could not be made for lack of something here: descriptors, ports.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.no_result); }},
            {"ballast_prober_postponed_total", kCounter,
             "Checks put off because all connections were in use.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.postponed); }},
            {"ballast_prober_held_back_total", kCounter,
             "Checks put off because too many would have started at once.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.held_back); }},
            {"ballast_prober_brought_forward_total", kCounter,
             "Checks made at once, for a lost connection or failures that workers reported.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.brought_forward); }},
            {"ballast_prober_check_duration_seconds", MetricType::histogram,
             "How long checks took that came to a result.",
             [](Samples& to, const Survey& s) { write_times(to, s.loop.prober.durations); }},
            {"ballast_prober_check_lag_seconds", MetricType::histogram,
             "From when a check was due to when it started.",
             [](Samples& to, const Survey& s) { write_times(to, s.loop.prober.lags); }},
            {"ballast_prober_commands_running",
             kGauge, "Commands that check instances and have not ended.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.commands_running); }},
            {"ballast_prober_commands_stuck", kGauge,
             "Those of them that were killed and do not end; with 64 of them no command runs any "
             "more.",
             [](Samples& to, const Survey& s) { to.put({}, s.loop.prober.commands_stuck); }},
            {"ballast_source_ok", kGauge, "Whether the set of a source that counts is its newest.",
             [](Samples& to, const Survey& s) {
               write_sources(to, s, [](const SourceStatus& source) {
                 return source.answered && source.error.empty() ? 1 : 0;
               });
             }},
            {"ballast_source_failing_seconds", kGauge, "For how long the set has been out of date.",
             [](Samples& to, const Survey& s) {
               write_sources(to, s, [](const SourceStatus& source) {
                 const auto failing = source.failing_for.value_or(std::chrono::milliseconds(0));
                 return static_cast<double>(failing.count()) / 1e3;
               });
             }},
            {"ballast_source_instances", kGauge, "Instances in the set that counts.",
             [](Samples& to, const Survey& s) {
               write_sources(to, s, [](const SourceStatus& source) { return source.instances; });
             }},
            {"ballast_source_failures_total", kCounter, "Looks of a source that failed.",
             [](Samples& to, const Survey& s) {
               write_sources(to, s, [](const SourceStatus& source) { return source.failures; });
             }},
            {"ballast_source_changes_total", kCounter,
             "Sets of a source that differed from the one before.",
             [](Samples& to, const Survey& s) {
               write_sources(to, s, [](const SourceStatus& source) { return source.changes; });
             }},
            {"ballast_metrics_readings_total", kCounter, "Readings of the table for scrapes.",
             [](Samples& to, const Survey& s) { to.put({}, s.number); }},
            {"ballast_metrics_reading_cpu_seconds", kGauge,
             "Processor time that this reading of the table took.",
             [](Samples& to, const Survey& s) { to.put({}, s.cost_seconds); }},
            {"process_cpu_seconds_total", kCounter, "Processor time of this process, all threads.",
             [](Samples& to, const Survey& s) { to.put({}, s.process.cpu_seconds); }},
            {"process_resident_memory_bytes", kGauge, "Resident memory of this process.",
             [](Samples& to, const Survey& s) { to.put({}, s.process.resident_bytes); }},
            {"process_open_fds", kGauge,
             "Open file descriptors; left out where the kernel does not say (before Linux 6.2).",
             [](Samples& to, const Survey& s) {
               if (s.process.open_descriptors) to.put({}, *s.process.open_descriptors);
             }},
            {"process_max_fds", kGauge, "File descriptors that may be open at once.",
             [](Samples& to, const Survey& s) { to.put({}, s.process.descriptor_limit); }},
            {"process_start_time_seconds", kGauge, "When this process started.",
             [](Samples& to, const Survey& s) { to.put({}, s.process.started); }},
        });

void write_check_failures(Samples& to, const CheckCounts& counts) {
  for (std::size_t i = 0; i < counts.failures.size(); ++i) {
    if (counts.failures[i] == 0) continue;
    std::string labels = counts.labels;
    append_label(labels, "reason", shm::to_text(static_cast<shm::Reason>(i)));
    to.put(labels, counts.failures[i]);
  }
}

constexpr std::array kChecks = std::to_array<Family<CheckCounts>>({
    {"ballast_check_duration_seconds", MetricType::histogram,
     "How long checks took that came to a result, since this ballastd started; agents beside a "
     "check are a kind of their own.",
     [](Samples& to, const CheckCounts& c) { write_times(to, c.durations, c.labels); }},
    {"ballast_check_failures_total", kCounter,
     "Checks that failed, by why, since this ballastd started; of those reasons that there were.",
     write_check_failures},
});

void write_sizes(Samples& to, const Survey& s) {
  to.put(label("file", "table"), s.head.table_bytes);
  to.put(label("file", "workers"), s.head.workers_bytes);
}

void write_events(Samples& to, const Survey& s) {
  to.put(label("writer", "checker"), s.table_events);
  to.put(label("writer", "worker"), s.worker_events);
}

void write_overwritten(Samples& to, const Survey& s) {
  to.put(label("writer", "checker"), s.table_events - std::min(s.table_events, s.table_event_room));
  to.put(label("writer", "worker"),
         s.worker_events - std::min(s.worker_events, s.worker_event_room));
}

constexpr std::array kTable = std::to_array<Family<Survey>>({
    {"ballast_checker_term", kGauge, "How often the lease has been taken.",
     [](Samples& to, const Survey& s) { to.put({}, s.head.term); }},
    {"ballast_checker_since_timestamp_seconds", kGauge, "When the lease was taken last.",
     [](Samples& to, const Survey& s) { to.put({}, seconds(s.head.checker_since_ns)); }},
    {"ballast_heartbeats_total", kCounter, "Beats of the checker, ten a second.",
     [](Samples& to, const Survey& s) { to.put({}, s.head.heartbeat); }},
    {"ballast_heartbeat_timestamp_seconds", kGauge, "When the checker's heart beat last.",
     [](Samples& to, const Survey& s) { to.put({}, seconds(s.head.heartbeat_ns)); }},
    {"ballast_segment_created_timestamp_seconds", kGauge,
     "When the active segment was made: a new one is made when there is no room left.",
     [](Samples& to, const Survey& s) { to.put({}, seconds(s.head.created_ns)); }},
    {"ballast_segment_draining", kGauge, "Whether workers are still in the segment before.",
     [](Samples& to, const Survey& s) { to.put({}, s.head.previous_segment != 0 ? 1 : 0); }},
    {"ballast_segment_bytes", kGauge, "Sizes of the active segment's files, holes included.",
     write_sizes},
    {"ballast_services", kGauge, "Services that are published.",
     [](Samples& to, const Survey& s) { to.put({}, s.services.size()); }},
    {"ballast_services_limit", kGauge, "Services that the active segment has room for.",
     [](Samples& to, const Survey& s) { to.put({}, s.head.service_capacity); }},
    {"ballast_slots_used", kGauge, "Slots with an instance, the leaving ones included.",
     [](Samples& to, const Survey& s) { to.put({}, s.slots_used); }},
    {"ballast_slots_limit", kGauge, "Slots of the active segment.",
     [](Samples& to, const Survey& s) { to.put({}, s.head.instance_capacity); }},
    {"ballast_rows_claimed", kGauge, "Worker threads that are attached.",
     [](Samples& to, const Survey& s) { to.put({}, s.rows_claimed); }},
    {"ballast_rows_limit", kGauge, "Worker threads that may be attached at once.",
     [](Samples& to, const Survey& s) { to.put({}, s.head.row_capacity); }},
    {"ballast_rows_reaped_total", kCounter,
     "Rows whose owners died without leaving; starts again with a new segment.",
     [](Samples& to, const Survey& s) { to.put({}, s.rows_reaped); }},
    {"ballast_events_total", kCounter,
     "Transitions in the flight recorder, by who wrote them; starts again with a new segment.",
     write_events},
    {"ballast_events_overwritten_total", kCounter,
     "Those of them that newer ones have taken the place of.", write_overwritten},
    {"ballast_metrics_instances_omitted", kGauge,
     "Instances without series of their own: all that are well, where there are more than "
     "`metrics.max_instances`.",
     [](Samples& to, const Survey& s) { to.put({}, s.omitted); }},
});

}  // namespace

std::span<const Family<Survey>> own_families() noexcept {
  return kOwn;
}
std::span<const Family<CheckCounts>> check_families() noexcept {
  return kChecks;
}
std::span<const Family<Survey>> table_families() noexcept {
  return kTable;
}

}  // namespace ballast::checker
