// Where a handle is attached: the mapped segment, its row of counters in it, and replaced segments
// in which it still has picks in flight. Reads the locator, writes its own rows' claims. It moves
// when the segment is superseded and tries again now and then while something is wrong: a new
// segment that cannot be opened yet, no free row, a fork. If this process dies its rows are reaped.
// One thread at a time; knows nothing of services, so its owner forgets what it read of the segment
// before every call that may leave it (`move_on`, `mend`).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/ballast.h"
#include "engine/service_view.hpp"
#include "shm/result.hpp"
#include "shm/rows.hpp"
#include "shm/seen.hpp"
#include "shm/segment.hpp"

namespace ballast::engine {

// While something is wrong that a later try may mend, every so many picks try, and the first after
// so long: a worker with a request a second must not stay on a replaced table for a quarter of an
// hour.
inline constexpr std::uint32_t kRetryEveryPicks = 1024;
inline constexpr std::int64_t kRetryAfterSeconds = 2;  // coarse: one less at times
// Replaced segments with picks in flight that a handle keeps; the oldest then counts as abandoned.
inline constexpr std::size_t kMaxRetired = 8;

class Attachment {
 public:
  // A replaced segment in which picks are still in flight.
  struct Retired {
    shm::WorkerSegment segment;
    shm::Row row;
    std::uint64_t in_flight = 0;
  };

  explicit Attachment(std::string directory) noexcept;

  // Opens whatever segment the locator names, takes a row in it, and leaves the segment before, or
  // keeps that while picks are in flight there. Everything below is for an attachment for which
  // this has succeeded once.
  shm::Status enter_active_segment();

  // What picks and reports go by.
  [[nodiscard]] const shm::InstanceRecord* instances() const noexcept { return instances_; }
  [[nodiscard]] shm::CounterRecord* counters() const noexcept { return picker_.row.counters; }
  [[nodiscard]] std::uint64_t counted_slots() const noexcept { return picker_.row.slots; }
  [[nodiscard]] Picker& picker() noexcept { return picker_; }
  [[nodiscard]] const Picker& picker() const noexcept { return picker_; }
  [[nodiscard]] std::uint64_t segment_id() const noexcept { return segment_id_; }
  [[nodiscard]] std::uint32_t row_index() const noexcept { return picker_.row.index; }
  [[nodiscard]] std::uint32_t row_incarnation() const noexcept { return picker_.row.incarnation; }
  [[nodiscard]] const shm::WorkerSegment& segment() const noexcept { return *segment_; }

  // With a row, in a segment that is kept up to date.
  [[nodiscard]] bool in_order() const noexcept {
    return picker_.row.counters != nullptr && !frozen_;
  }
  // Superseded, and the new segment cannot be opened yet.
  [[nodiscard]] bool frozen() const noexcept { return frozen_; }
  [[nodiscard]] bool forked() const noexcept { return forked_; }

  // The owner's picks of the service go by the generation under root `entered` or a later one from
  // now on. False: there is a later one, which is to be read first.
  [[nodiscard]] bool note_seen(std::uint32_t service, const shm::Word64& root,
                               std::uint64_t entered) noexcept {
    if (!row_ || service >= row_->services().size()) return true;
    return shm::note_seen(row_->services()[service].seen_epoch, root, entered);
  }

  // Moves to the segment that replaced this one. False, and frozen: it cannot be opened yet, go on
  // with this one.
  bool move_on();
  // The segment is published again where it was.
  void thaw() noexcept;

  // For an attachment that is not in order: whether it is time to `mend`, which counts as a try.
  [[nodiscard]] bool due_to_mend() noexcept;
  void mend();

  // The retired segment that a pick belongs to; null: none. Once the pick is counted there,
  // `release` lets the segment go if it was the last.
  [[nodiscard]] Retired* find_retired(const ballast_pick_t& pick) noexcept;
  void release(Retired* retired) noexcept;

  void describe(ballast_info_t& out) const noexcept;
  [[nodiscard]] const char* warning() const noexcept;

  // Plain stores, close(2) and getrandom(2) only.
  void after_fork_in_child() noexcept;

 private:
  void adopt(shm::WorkerSegment segment);
  void try_claim();
  void retire_row();
  void set_row(std::optional<shm::Row> row) noexcept;
  void wait_to_retry() noexcept;

  // What picks and reports touch comes first; see Handle.
  const shm::InstanceRecord* instances_ = nullptr;
  std::uint64_t segment_id_ = 0;
  Picker picker_;  // with the own row, if there is one
  bool frozen_ = false;
  bool forked_ = false;  // in a child that has not picked yet

  // Until the next try, while frozen or without a row: picks, and CLOCK_MONOTONIC_COARSE.
  std::uint32_t retry_in_ = 0;
  std::int64_t retry_at_s_ = 0;
  std::string directory_;
  std::optional<shm::WorkerSegment> segment_;  // before the row, which lies in it
  std::optional<shm::Row> row_;
  std::vector<std::uint32_t> in_flight_;  // by slot, of the own row's picks that keep a journal
  std::vector<std::unique_ptr<Retired>> retired_;
  std::string row_warning_;
  std::string segment_warning_;
};

}  // namespace ballast::engine
