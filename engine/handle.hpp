// What one worker thread picks with: its attachment to a segment, and a view of each service that
// it asked for. Reads what the checker publishes and writes only its own row and the tickets. It
// looks after itself: a replaced table, a service that went and came back, a fork, rows that are
// all taken. If the checker is dead it goes on from what is published; if this process dies its row
// is reaped. One thread at a time; see engine/ballast.h for what users are promised.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/attachment.hpp"
#include "engine/ballast.h"
#include "engine/breaker_report.hpp"
#include "engine/choose.hpp"
#include "engine/generation_view.hpp"
#include "engine/hash.hpp"
#include "engine/latency_buckets.hpp"
#include "engine/pick.hpp"
#include "engine/service_view.hpp"
#include "engine/sticky_pick.hpp"
#include "shm/crash_point.hpp"
#include "shm/journal.hpp"
#include "shm/result.hpp"
#include "shm/row_protocol.hpp"

namespace ballast::engine {

// How often a pick whose generation was replaced under it starts again.
inline constexpr unsigned kMaxRefreshes = 64;
inline constexpr std::size_t kMaxServicesPerHandle = shm::kMaxServices;

class Handle {
 public:
  static shm::Result<std::unique_ptr<Handle>> attach(std::string directory);
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle();

  ballast_status_t find_service(std::string_view name, ballast_service_t& out);

  [[nodiscard, gnu::always_inline]] inline ballast_status_t pick(ballast_service_t service,
                                                                 const void* key,
                                                                 std::size_t length,
                                                                 ballast_pick_t& out) noexcept;
  // What a pick is asked for besides its key.
  struct Wishes {
    std::span<const ballast_pick_t* const> tried{};
    std::string_view sticky{};  // a client's token; empty: none
  };
  [[nodiscard, gnu::noinline, gnu::cold]] ballast_status_t pick_wishing(
      ballast_service_t service, const void* key, std::size_t length, const Wishes& wishes,
      ballast_pick_t& out) noexcept;
  [[nodiscard, gnu::always_inline]] inline ballast_status_t report(
      ballast_pick_t& pick, ballast_outcome_t outcome, std::uint64_t latency_us,
      std::uint64_t retry_after_ms = 0) noexcept;

  ballast_status_t report_full(ballast_pick_t& pick, const ballast_result_t& result) noexcept;

  ballast_status_t sticky_token(ballast_service_t service, const ballast_pick_t& pick,
                                std::span<char, kStickyText> out) noexcept;
  [[nodiscard]] std::size_t count_usable(ballast_service_t service, const Wishes& wishes,
                                         std::size_t limit) noexcept;
  [[nodiscard]] std::uint64_t epoch(ballast_service_t service);
  void describe(ballast_info_t& out) const noexcept { attachment_.describe(out); }
  [[nodiscard]] const char* warning() const noexcept { return attachment_.warning(); }

  // For tests and simulations: draws that can be repeated, and another clock for the rare paths.
  void seed(std::uint64_t value) noexcept { attachment_.picker().random = Random(value); }
  void set_clock(ClockMs clock_ms) noexcept { attachment_.picker().clock_ms = clock_ms; }

  // What the fork handler does in the child: plain stores, close(2) and getrandom(2) only.
  void after_fork_in_child() noexcept;

 private:
  struct Service {
    ServiceView view;
    std::uint32_t index = 0;  // where it was last found in the table
    std::string name;
  };

  // The end of a ballast_pick_t.
  struct PickTail {
    std::uint16_t attempts;
    std::uint8_t reported;
    std::uint8_t flags;
    std::uint32_t permit;
  };
  static_assert(sizeof(PickTail) == 8 && offsetof(ballast_pick_t, attempts) == 56 &&
                offsetof(ballast_pick_t, reported) == 58 && offsetof(ballast_pick_t, flags) == 59 &&
                offsetof(ballast_pick_t, permit) == 60);

  explicit Handle(std::string directory) noexcept : attachment_(std::move(directory)) {}

  void forget_generations() noexcept;
  void recover();
  ballast_status_t refresh(Service& service);
  [[nodiscard]] const shm::ServiceRecord* locate(Service& service) const;
  bool note_superseded();

  [[gnu::noinline]] ballast_status_t pick_otherwise(Service& service, const void* key,
                                                    std::size_t length,
                                                    ballast_pick_t& out) noexcept;
  [[gnu::noinline, gnu::cold]] ballast_status_t pick_slow(Service& service, const void* key,
                                                          std::size_t length, const Wishes& wishes,
                                                          ballast_pick_t& out) noexcept;
  [[nodiscard]] Excluded find_named(const Service& service, std::string_view token) noexcept;
  // Whether a pick is counted in the row that the handle has now, and is not reported.
  [[nodiscard, gnu::always_inline]] bool is_mine(const ballast_pick_t& pick) const noexcept {
    const OwnRow& row = attachment_.picker().row;
    return pick.reported == 0 && pick.slot < row.slots &&
           pick.segment == attachment_.segment_id() &&
           std::memcmp(reinterpret_cast<const std::byte*>(&pick) + offsetof(ballast_pick_t, row),
                       reinterpret_cast<const std::byte*>(&row) + offsetof(OwnRow, index),
                       kOwnerBytes) == 0;
  }
  // Whatever is not straight: no success, no latency, limits, a permit, a pick of a row that the
  // handle has left.
  [[gnu::noinline]] ballast_status_t report_otherwise(ballast_pick_t& pick,
                                                      ballast_outcome_t outcome,
                                                      std::uint64_t latency_us,
                                                      std::uint64_t retry_after_ms) noexcept;
  [[gnu::noinline, gnu::cold]] ballast_status_t report_slow(ballast_pick_t& pick,
                                                            ballast_outcome_t outcome,
                                                            std::uint64_t latency_us) noexcept;
  void keep_reported_load(const ballast_pick_t& pick, std::string_view header) noexcept;
  void finish_report(const ballast_pick_t& pick, ballast_outcome_t outcome,
                     std::uint64_t retry_after_ms) noexcept;
  // For a pick that feeds its instance's breaker, after a success that decides no trial.
  [[gnu::noinline]] ballast_status_t tell_success(const ballast_pick_t& pick) noexcept {
    const OwnRow& row = attachment_.picker().row;
    // Relaxed: the row's own counter.
    const std::uint64_t successes =
        row.counters[pick.slot].values[shm::kSuccess].load(std::memory_order_relaxed);
    feed_success(attachment_.segment().workers, pick.slot, pick.incarnation, successes, row.index);
    return BALLAST_OK;
  }
  static void give_tokens_back(const shm::WorkerSegment& segment, const OwnRow& row,
                               const ballast_pick_t& pick) noexcept;
  bool find_by_address(const Service& service, const ballast_pick_t& pick,
                       Excluded& out) const noexcept;
  std::size_t resolve_excluded(const Service& service, std::span<const ballast_pick_t* const> tried,
                               std::span<Excluded> out) const noexcept;

  void read_address(std::uint32_t slot, ballast_pick_t& out) const noexcept {
    const auto& endpoint = attachment_.instances()[slot].endpoint;
    // Word by word, in few registers.
    const std::uint64_t first = shm::get(endpoint[0]);
    out.port = static_cast<std::uint16_t>(first);
    out.family = static_cast<std::uint8_t>(first >> 16);
    for (std::size_t i = 0; i < 2; ++i) {
      const std::uint64_t word = shm::get(endpoint[1 + i]);
      std::memcpy(out.address + 8 * i, &word, sizeof word);
    }
  }
  // The row's index and incarnation, which are neighbours in both.
  static constexpr std::size_t kOwnerBytes = 8;
  static_assert(offsetof(ballast_pick_t, row_incarnation) == offsetof(ballast_pick_t, row) + 4 &&
                offsetof(OwnRow, incarnation) == offsetof(OwnRow, index) + 4);
  // Makes a confirmed choice the caller's, and counts it. Only with a row.
  ballast_status_t take(const Choice& choice, const GenerationView& view,
                        ballast_pick_t& out) noexcept {
    fill(choice, view, out);
    BALLAST_POINT("pick.chosen");
    shm::count_started(attachment_.counters()[choice.slot].values[shm::kStarted]);
    BALLAST_POINT("pick.counted");
    if ((view.flags & pick_flags::kJournals) != 0) note_started(choice.slot);
    return BALLAST_OK;
  }
  void fill(const Choice& choice, const GenerationView& view, ballast_pick_t& out) noexcept {
    const OwnRow& row = attachment_.picker().row;
    out.slot = choice.slot;
    out.incarnation = shm::incarnation_of(choice.state);
    out.reason = static_cast<std::uint8_t>(choice.because);
    out.segment = attachment_.segment_id();
    out.epoch = shm::epoch_of(view.entered);
    // Neighbours are stored together: a pick is mostly stores.
    std::memcpy(reinterpret_cast<std::byte*>(&out) + offsetof(ballast_pick_t, row),
                reinterpret_cast<const std::byte*>(&row) + offsetof(OwnRow, index), kOwnerBytes);
    // What the pick tries needs no service at hand: its report looks for it.
    const bool is_trial = (choice.flags & pick_flags::kPermit) != 0;
    const PickTail tail{choice.attempts, 0, static_cast<std::uint8_t>(view.flags | choice.flags),
                        is_trial ? choice.permit : view.service};
    std::memcpy(reinterpret_cast<std::byte*>(&out) + offsetof(ballast_pick_t, attempts), &tail,
                sizeof tail);
  }
  // For the load board, and for this thread's next picks.
  void note_started(std::uint32_t slot) noexcept {
    const OwnRow& row = attachment_.picker().row;
    ++row.in_flight[slot];
    shm::append_journal(*row.journal, static_cast<std::uint16_t>(slot));
  }
  void note_ended(std::uint32_t slot) noexcept {
    const OwnRow& row = attachment_.picker().row;
    auto& in_flight = row.in_flight[slot];
    if (in_flight != 0) --in_flight;
    shm::append_journal(*row.journal, static_cast<std::uint16_t>(slot));
  }
  // `us` is a latency that tells how long work takes.
  [[gnu::always_inline]] static void count_latency(shm::CounterRecord& record,
                                                   std::span<shm::RowServiceRecord> services,
                                                   std::uint64_t service,
                                                   std::uint32_t us) noexcept {
    constexpr auto relaxed = std::memory_order_relaxed;  // one writer; sums for people and metrics
    auto& sum = record.values[shm::kLatencySumUs];
    auto& count = record.values[shm::kLatencyCount];
    sum.store(sum.load(relaxed) + us, relaxed);
    count.store(count.load(relaxed) + 1, relaxed);
    if (service < services.size()) [[likely]] {
      shm::RowServiceRecord& counted = services[service];
      auto& bucket = counted.latency_buckets[latency_bucket(us)];
      bucket.store(bucket.load(relaxed) + 1, relaxed);
      auto& service_sum = counted.latency_sum_us;
      service_sum.store(service_sum.load(relaxed) + us, relaxed);
    }
  }
  static void count_report(shm::CounterRecord& record, const shm::InstanceRecord& instance,
                           std::span<shm::RowServiceRecord> services, const ballast_pick_t& pick,
                           ballast_outcome_t outcome, std::uint64_t latency_us) noexcept;

  // What picks and reports touch comes first. `service_data_` and `service_count_` are those of
  // `services_`, kept at hand because the vector would have to divide.
  Service* service_data_ = nullptr;
  std::size_t service_count_ = 0;
  Attachment attachment_;
  std::vector<Service> services_;
  StickyMemory sticky_memory_;
};

// The outcomes of the C API are the counters of a row.
static_assert(BALLAST_SUCCESS == static_cast<int>(shm::kSuccess) &&
              BALLAST_CONNECT_FAILURE == static_cast<int>(shm::kConnectFailure) &&
              BALLAST_TIMEOUT == static_cast<int>(shm::kTimeout) &&
              BALLAST_RESET == static_cast<int>(shm::kReset) &&
              BALLAST_SERVER_ERROR == static_cast<int>(shm::kServerError) &&
              BALLAST_OVERLOAD == static_cast<int>(shm::kOverload) &&
              BALLAST_CANCELLED == static_cast<int>(shm::kCancelled) &&
              BALLAST_ABANDONED == static_cast<int>(shm::kAbandoned));

inline ballast_status_t Handle::pick(ballast_service_t service, const void* key, std::size_t length,
                                     ballast_pick_t& out) noexcept {
  if (service >= service_count_) [[unlikely]] {
    out.reported = 1;
    return BALLAST_INVALID_ARGUMENT;
  }
  Service& entry = service_data_[service];
  const GenerationView& view = entry.view.first();
  if (view.kind == shm::LookupKind::table && length <= kShortKey) [[likely]] {
    const Choice choice = pick_straight(view, short_key_hash(key, length),
                                        [&](std::uint32_t slot) { read_address(slot, out); });
    if (choice.result == PickResult::ok) [[likely]]
      return take(choice, view, out);
  }
  // Nothing is called but at the end, so that the straight path saves no registers.
  return pick_otherwise(entry, key, length, out);
}

// The straight path of a report: a success with its latency, of a pick that is counted in the
// handle's row and holds nothing.
inline ballast_status_t Handle::report(ballast_pick_t& pick, ballast_outcome_t outcome,
                                       std::uint64_t latency_us,
                                       std::uint64_t retry_after_ms) noexcept {
  constexpr unsigned kOrdinary =
      pick_flags::kJournals | pick_flags::kFeedsBreaker | pick_flags::kWatched;
  if (outcome != BALLAST_SUCCESS || latency_us > UINT32_MAX || !is_mine(pick) ||
      (pick.flags & ~kOrdinary) != 0) [[unlikely]] {
    return report_otherwise(pick, outcome, latency_us, retry_after_ms);
  }
  pick.reported = 1;
  const OwnRow& row = attachment_.picker().row;
  // At hand, since the compiler must think that counting changes them.
  const std::uint32_t slot = pick.slot;
  const unsigned flags = pick.flags;
  shm::CounterRecord& record = row.counters[slot];
  BALLAST_POINT("report.begin");
  count_latency(record, {row.services, static_cast<std::size_t>(row.service_count)}, pick.permit,
                static_cast<std::uint32_t>(latency_us));
  shm::count_outcome(record.values[shm::kSuccess]);
  BALLAST_POINT("report.counted");
  if ((flags & pick_flags::kJournals) != 0) note_ended(slot);
  if ((flags & pick_flags::kFeedsBreaker) != 0 &&
      success_tells(row.breakers[slot], row.instances[slot].window)) [[unlikely]] {
    return tell_success(pick);
  }
  return BALLAST_OK;
}

}  // namespace ballast::engine
