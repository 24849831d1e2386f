// Summing up a table and its rows in one pass, some hundred slots at a time; see survey.hpp.
#include "engine/checker/metrics/survey.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "engine/checker/metrics/exposition.hpp"
#include "engine/coarse_clock.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/inspect/reading.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {
namespace {

using inspect::InstanceView;
using inspect::relaxed;

constexpr std::uint64_t kBlock = 256;  // slots; their sums stay in the processor's first cache
constexpr std::size_t kNoService = SIZE_MAX;

double thread_cpu_seconds() noexcept {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

ProcessSurvey survey_process(double started) {
  ProcessSurvey process;
  process.started = started;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    process.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  if (std::FILE* file = std::fopen("/proc/self/statm", "re"); file != nullptr) {
    unsigned long long size = 0;
    unsigned long long resident = 0;
    if (std::fscanf(file, "%llu %llu", &size, &resident) ==
        2) {  // NOLINT(cert-err34-c): the kernel's
      process.resident_bytes = resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    }
    std::fclose(file);
  }
  // Since Linux 6.2 the directory's size is how many there are; before, it is 0.
  struct stat status{};
  if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
    process.open_descriptors = static_cast<std::uint64_t>(status.st_size);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) process.descriptor_limit = limit.rlim_cur;
  return process;
}

}  // namespace

InstanceMood mood_of(const InstanceView& instance) noexcept {
  const shm::State& state = instance.state;
  if (instance.phase == shm::Phase::cooling) return InstanceMood::leaving;
  if (state.admin == shm::Admin::drain) return InstanceMood::drain;
  if (state.admin == shm::Admin::maintenance) return InstanceMood::maintenance;
  if (state.health == shm::Health::down) return InstanceMood::down;
  if (state.ejected) return InstanceMood::ejected;
  if (instance.breaker.state == engine::BreakerState::open) return InstanceMood::breaker_open;
  if (instance.breaker.state == engine::BreakerState::half_open)
    return InstanceMood::breaker_half_open;
  if (state.usable) return InstanceMood::in_use;
  return state.health == shm::Health::unknown ? InstanceMood::unknown : InstanceMood::unused;
}

std::string_view to_text(InstanceMood mood) noexcept {
  constexpr std::array<std::string_view, kMoodCount> kTexts{
      "in_use", "unknown",     "down",   "ejected", "breaker_open", "breaker_half_open",
      "drain",  "maintenance", "unused", "leaving"};
  return kTexts[static_cast<std::size_t>(mood)];
}

// One look at one mapping.
class Surveyor::Reading {
 public:
  Reading(Surveyor& surveyor, const inspect::MappedSegment& mapped, Survey& survey)
      : surveyor_(surveyor), table_(mapped.table), survey_(survey) {
    if (mapped.workers) workers_ = &*mapped.workers;
    now_ms_ = survey.head.this_boot ? engine::coarse_ms() : 0;
  }

  void read() {
    read_rows();
    read_services();
    // Slots behind the last one in use need no look again.
    std::uint64_t end = 0;
    for (std::uint64_t slot = 0; slot < table_.instances.size(); ++slot) {
      const shm::Phase phase = identity_of(slot).phase;
      if (phase == shm::Phase::free) continue;
      end = slot + 1;
      ++survey_.slots_used;
      live_ += phase == shm::Phase::live ? 1 : 0;
    }
    surveyor_.slots_.resize(end);
    for (std::uint64_t from = 0; from < end; from += kBlock)
      read_block(from, std::min(from + kBlock, end));
    survey_.omitted = live_ - std::min(live_, shown_live_);
    surveyor_.looked_ = true;
    for (std::size_t i = 0; i < survey_.services.size(); ++i) {
      ServiceSurvey& service = survey_.services[i];
      const auto& values = surveyor_.services_[service.view.record].values;
      std::copy_n(values.begin(), shm::kAbandoned + 1, service.counters.begin());
      service.checks = values[9];
      service.check_failures = values[10];
      service.flips = values[11];
    }
  }

 private:
  [[nodiscard]] shm::Identity identity_of(std::uint64_t slot) const {
    return shm::unpack_identity(shm::get(table_.instances[slot].identity));
  }

  void read_rows() {
    survey_.table_events = relaxed(table_.header->events_next);
    survey_.table_event_room = table_.events.size();
    if (workers_ == nullptr) return;
    survey_.worker_events = relaxed(workers_->header->events_next);
    survey_.worker_event_room = workers_->events.size();
    for (std::uint64_t i = 0; i < workers_->directory.size(); ++i) {
      if (!workers_->ever_claimed(i)) continue;
      rows_.push_back(i);
      const shm::RowRecord& row = workers_->directory[i];
      survey_.rows_reaped += relaxed(row.reaps);
      const auto identity = shm::unpack_identity(relaxed(row.claim));
      survey_.rows_claimed += identity.phase == shm::Phase::live ? 1 : 0;
    }
  }

  void read_services() {
    places_.assign(table_.services.size(), kNoService);
    surveyor_.services_.resize(table_.services.size());
    for (std::size_t i = 0; i < table_.services.size(); ++i) {
      const shm::ServiceRecord& record = table_.services[i];
      // [mm:publish-and-pick] pairs with put(): whoever sees the identity sees a whole record.
      const auto identity = shm::unpack_identity(shm::get(record.identity));
      if (identity.phase != shm::Phase::live) continue;
      places_[i] = survey_.services.size();
      ServiceSurvey& service = survey_.services.emplace_back();
      service.view = inspect::read_service(table_, record, survey_.head, inspect::Members::no);
      service.view.record = i;
      append_label(service.labels, "service", service.view.name);
      ServiceMemory& memory = surveyor_.services_[i];
      if (memory.incarnation != identity.incarnation) memory = {identity.incarnation, {}};
      add_latency(service, i);
      if (workers_ != nullptr && i < workers_->services.size()) {
        service.view.out =
            engine::unpack_budget(relaxed(workers_->services[i].open_breakers)).count;
      }
    }
  }

  void add_latency(ServiceSurvey& service, std::size_t record) const {
    if (record < table_.carried_services.size())
      service.latency = shm::read_latencies(table_.carried_services[record]);
    for (const std::uint64_t row : rows_) {
      const auto counted = workers_->row_services(row);
      if (record < counted.size()) service.latency += shm::read_latencies(counted[record]);
    }
  }

  void read_block(std::uint64_t from, std::uint64_t to) {
    std::array<shm::Totals, kBlock> sums{};
    for (const std::uint64_t row : rows_) {
      const auto counters = workers_->row(row);
      for (std::uint64_t slot = from; slot < std::min<std::uint64_t>(to, counters.size()); ++slot) {
        // Most rows have never seen most slots, and without a start there is no outcome.
        if (relaxed(counters[slot].values[shm::kStarted]) != 0)
          sums[slot - from] += shm::read_record(counters[slot]);
      }
    }
    for (std::uint64_t slot = from; slot < to; ++slot) {
      const shm::Identity identity = identity_of(slot);
      if (identity.phase != shm::Phase::free) read_slot(slot, identity, sums[slot - from]);
    }
  }

  void read_slot(std::uint64_t slot, shm::Identity identity, const shm::Totals& rows) {
    const std::uint64_t record = shm::get(table_.instances[slot].service);
    // A cooling instance may outlive its service.
    if (record >= places_.size() || places_[record] == kNoService) return;
    const std::size_t place = places_[record];
    ServiceSurvey& service = survey_.services[place];
    InstanceView view = inspect::read_instance(table_, slot, identity.phase);
    for (std::size_t i = 0; i < view.counters.size(); ++i)
      view.counters[i] += rows.values[i];
    if (workers_ != nullptr) view.breaker = inspect::read_breaker(*workers_, view, now_ms_);
    const InstanceMood mood = mood_of(view);
    ++service.moods[static_cast<std::size_t>(mood)];
    if (mood == InstanceMood::down) ++service.down[static_cast<std::size_t>(view.state.reason)];
    service.in_flight += inspect::in_flight_of(view.counters);
    follow(slot, identity.incarnation, record, view);
    const bool all = live_ <= surveyor_.max_instances_;
    if (identity.phase != shm::Phase::live || (!all && mood == InstanceMood::in_use) ||
        survey_.instances.size() >= surveyor_.max_instances_) {
      return;
    }
    ++shown_live_;
    InstanceSurvey& instance = survey_.instances.emplace_back();
    instance.labels = service.labels;
    append_label(instance.labels, "instance", inspect::address_of(table_, slot));
    instance.mood = mood;
    instance.view = std::move(view);
  }

  // Adds to the service what the slot has counted since the last look.
  void follow(std::uint64_t slot, std::uint32_t incarnation, std::uint64_t record,
              const InstanceView& view) {
    std::array<std::uint64_t, kFollowed> values{};
    std::copy_n(view.counters.begin(), shm::kAbandoned + 1, values.begin());
    values[9] = view.checks;
    values[10] = view.check_failures;
    values[11] = view.flips;
    Memory& memory = surveyor_.slots_[slot];
    const bool is_known = memory.incarnation == incarnation;
    // Whoever came after the first look began with nothing counted.
    const bool counts_from_now = !is_known && !surveyor_.looked_;
    if (!is_known) memory = {incarnation, {}};
    ServiceMemory& sum = surveyor_.services_[record];
    for (std::size_t i = 0; i < kFollowed; ++i) {
      const auto now = static_cast<std::uint32_t>(values[i]);
      const std::uint32_t since = now - memory.values[i];
      // Counts that went back, as when a workers file was lost, begin again from there.
      if (!counts_from_now && since <= INT32_MAX) sum.values[i] += since;
      memory.values[i] = now;
    }
  }

  Surveyor& surveyor_;
  const shm::Table& table_;
  const shm::Workers* workers_ = nullptr;
  Survey& survey_;
  std::uint64_t now_ms_ = 0;
  std::vector<std::uint64_t> rows_;  // that were ever claimed
  std::vector<std::size_t> places_;  // of service records in the survey
  std::uint64_t live_ = 0;
  std::uint64_t shown_live_ = 0;
};

Surveyor::Surveyor(std::string directory, std::size_t max_instances, std::string version)
    : directory_(std::move(directory)),
      max_instances_(max_instances),
      version_(std::move(version)),
      started_(static_cast<double>(shm::realtime_ns()) / 1e9) {}

std::shared_ptr<const Survey> Surveyor::survey(const LoopReport& loop) {
  const double before = thread_cpu_seconds();
  auto survey = std::make_shared<Survey>();
  survey->version = version_;
  survey->number = ++number_;
  survey->loop = loop;
  survey->process = survey_process(started_);
  if (const auto mapped = inspect::map_active(directory_, survey->head)) {
    Reading(*this, *mapped, *survey).read();
  } else {
    survey->error = mapped.error().to_text();
  }
  survey->cost_seconds = thread_cpu_seconds() - before;
  return survey;
}

}  // namespace ballast::checker
