// Whether every live worker goes by a service's epoch: what `--wait` waits for. A row says which
// epoch its owner has read; an owner that picks nothing says nothing, and is asked of the kernel
// instead: once its thread has slept, or worked on for a while, it cannot be in the middle of a
// pick by an earlier epoch any more. docs/memory-model.md, "seen-epoch", has the argument.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/control/thread_activity.hpp"
#include "shm/segment.hpp"

namespace ballast::checker {

// Processor time within which a pick is long over.
inline constexpr std::uint64_t kPickCpuNs = 1'000'000;
// A row whose owner cannot be seen from here (another pid namespace) counts as idle after this long
// without a pick.
inline constexpr std::uint64_t kUnseenIdleMs = 1'000;
// Owners that one look asks the kernel about, some 50 us each.
inline constexpr std::size_t kAskedPerLook = 16;
inline constexpr std::size_t kMissingShown = 16;

struct SeenReport {
  struct Missing {
    std::uint64_t row = 0;
    std::uint64_t pid = 0;
    std::string command;
    bool stopped = false;
  };
  std::uint64_t rows = 0;        // live ones
  std::uint64_t seen = 0;        // that have read the epoch, or never used the service
  std::uint64_t idle = 0;        // that have not, and have nothing to see
  std::vector<Missing> missing;  // some of the others

  [[nodiscard]] bool done() const noexcept { return seen + idle == rows; }
};

class SeenWatch {
 public:
  using Activity = std::function<std::optional<ThreadActivity>(std::uint64_t pid, std::uint64_t tid,
                                                               std::uint64_t start_ticks)>;

  // To be made after the epoch was published. `service` is its record's index.
  SeenWatch(std::size_t service, std::uint64_t epoch, std::uint64_t now_ms,
            Activity activity = activity_of)
      : service_(service), epoch_(epoch), since_ms_(now_ms), activity_(std::move(activity)) {}

  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }

  // `draining`: the segment before the last growth, if workers are still in it.
  SeenReport look(const shm::CheckerSegment& active, const shm::CheckerSegment* draining,
                  std::uint64_t now_ms);

 private:
  struct Owner {
    std::uint32_t incarnation = 0;
    bool idle = false;
    bool stopped = false;
    std::optional<std::uint64_t> cpu_ns;  // at the first look
  };

  using Place = std::pair<std::uint64_t, std::uint64_t>;  // segment and row
  struct Behind {
    Place place;
    const shm::RowRecord* record = nullptr;
    Owner* owner = nullptr;
    // It cannot leave a segment that was replaced: when it wakes up, it picks from there.
    bool stays = false;
  };

  void find_behind(const shm::CheckerSegment& segment, bool replaced, SeenReport& report,
                   std::vector<Behind>& behind);
  void ask(const Behind& row, std::uint64_t now_ms) const;

  std::size_t service_;
  std::uint64_t epoch_;
  std::uint64_t since_ms_;
  Activity activity_;
  std::map<Place, Owner> owners_;  // of rows that were behind at some look
  Place asked_last_;
};

}  // namespace ballast::checker
