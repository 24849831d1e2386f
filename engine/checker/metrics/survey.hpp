// What one scrape shows, read from mapped memory as any tool reads it: read-only, without a lock,
// through a mapping of its own that lives only while the reading lasts. Services are summed up slot
// by slot, so that ten thousand instances cost no memory; only some of them are kept one by one:
// all, while there are few, else those that are not well. Used by the metrics thread; the checker's
// loop does not know of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/metrics/loop_report.hpp"
#include "engine/inspect/snapshot.hpp"
#include "shm/layout.hpp"
#include "shm/state_word.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

// What an instance comes to, taken together; each is in one of these.
enum class InstanceMood : std::uint8_t {
  in_use,
  unknown,  // not checked yet, and not used before
  down,
  ejected,
  breaker_open,
  breaker_half_open,
  drain,
  maintenance,
  unused,   // well, but gets nothing
  leaving,  // no longer configured; its slot cools down
};
inline constexpr std::size_t kMoodCount = 10;
[[nodiscard]] InstanceMood mood_of(const inspect::InstanceView& instance) noexcept;
[[nodiscard]] std::string_view to_text(InstanceMood mood) noexcept;

struct ServiceSurvey {
  std::string labels;
  inspect::ServiceView view;  // without instances and members
  std::array<std::uint64_t, kMoodCount> moods{};
  std::array<std::uint64_t, shm::kReasonCount> down{};  // by why
  std::int64_t in_flight = 0;
  // Since this reader's first look; an instance that leaves takes nothing away from them.
  inspect::Counters counters{};
  std::uint64_t checks = 0;
  std::uint64_t check_failures = 0;
  std::uint64_t flips = 0;
  // How long requests took, since the service exists: by engine/latency_buckets.hpp.
  shm::Latencies latency;
};

struct InstanceSurvey {
  std::string labels;
  InstanceMood mood = InstanceMood::in_use;
  inspect::InstanceView view;  // without its address
};

struct ProcessSurvey {
  double cpu_seconds = 0;
  std::uint64_t resident_bytes = 0;
  std::optional<std::uint64_t> open_descriptors;  // where the kernel says it
  std::uint64_t descriptor_limit = 0;
  double started = 0;  // seconds of CLOCK_REALTIME
};

struct Survey {
  std::string version;     // of this program
  std::string error;       // why the table could not be read; empty: it was
  inspect::Snapshot head;  // without services and rows
  std::uint64_t slots_used = 0;
  std::uint64_t rows_claimed = 0;
  std::uint64_t rows_reaped = 0;
  std::uint64_t table_events = 0;
  std::uint64_t worker_events = 0;
  std::uint64_t table_event_room = 0;
  std::uint64_t worker_event_room = 0;
  std::vector<ServiceSurvey> services;
  std::vector<InstanceSurvey> instances;
  std::uint64_t omitted = 0;  // live instances that are not in `instances`
  LoopReport loop;
  ProcessSurvey process;
  std::uint64_t number = 0;  // how many surveys this reader has made, with this one
  double cost_seconds = 0;   // processor time that this one took
};

// Not thread-safe.
class Surveyor {
 public:
  // At most `max_instances` are shown one by one. `version`: of this program.
  Surveyor(std::string directory, std::size_t max_instances, std::string version);

  [[nodiscard]] std::shared_ptr<const Survey> survey(const LoopReport& loop);

 private:
  // What a slot's counters said at the last look, modulo 2^32, of which tenant.
  static constexpr std::size_t kFollowed = 12;
  struct Memory {
    std::uint32_t incarnation = 0;
    std::array<std::uint32_t, kFollowed> values{};
  };
  // What a service's record has counted since the first look, of which tenant.
  struct ServiceMemory {
    std::uint32_t incarnation = 0;
    std::array<std::uint64_t, kFollowed> values{};
  };
  class Reading;

  std::string directory_;
  std::size_t max_instances_;
  std::string version_;
  bool looked_ = false;
  std::vector<Memory> slots_;
  std::vector<ServiceMemory> services_;
  std::uint64_t number_ = 0;
  double started_ = 0;
};

}  // namespace ballast::checker
