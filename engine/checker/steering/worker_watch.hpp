// What the requests of workers say about when to check: an instance whose requests fail is to be
// checked at once, and one whose requests succeed, or that has none, needs it less often. Reads
// counts that workers keep (shared_instances' `failures`, the load board's totals); decides nothing
// about health. Owned by the checker, on its loop. If the checker dies, a successor counts from
// what it finds.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/checker/loads/load_board.hpp"
#include "engine/checker/probing/health.hpp"
#include "shm/segment.hpp"

namespace ballast::checker {

class WorkerWatch {
 public:
  // Without a request for so long an instance counts as idle; with a failed one since then it is
  // not eased.
  static constexpr std::uint64_t kIdleMs = 60'000;
  static constexpr std::uint64_t kFailingMs = 10'000;

  struct Member {
    InstanceId id = 0;
    std::uint16_t slot = 0;
    std::uint32_t incarnation = 0;
    std::uint32_t failures_to_check = 0;  // 0: never
    bool wants_demand = false;
  };

  // The instances from now on. Those that stay (id, slot and incarnation) keep their counts and
  // demands; in another segment, their demands.
  void follow(const shm::CheckerSegment& segment, const std::vector<Member>& members,
              std::uint64_t now_ms);

  // Whether looks for failures have anything to look for.
  [[nodiscard]] bool waits_for_failures() const noexcept { return !services_.empty(); }
  // Those with at least `failures_to_check` failed requests since they were last checked, or named
  // here. Costs one load a service while nothing fails.
  [[nodiscard]] std::vector<InstanceId> failing(const shm::CheckerSegment& segment);
  // A check of the tenant of `slot` has ended.
  void checked(const shm::CheckerSegment& segment, std::uint16_t slot) noexcept;

  // Whose demand is another than it was. To be called about once a second.
  [[nodiscard]] std::vector<std::pair<InstanceId, Demand>> demands(const LoadBoard& loads,
                                                                   std::uint64_t now_ms);

 private:
  struct Watched {
    Member member;
    std::uint64_t failures = 0;  // reported until the last check
    Traffic traffic;             // of the last look
    bool looked = false;
    std::uint64_t request_ms = 0;  // when a request was last seen to end, or to be under way
    std::uint64_t failure_ms = 0;  // when one was last seen to fail; 0: never
    Demand demand = Demand::unknown;
  };
  struct Service {
    std::size_t record = 0;
    std::uint64_t failures = 0;  // as of the last look
    std::vector<std::size_t> watched;
  };

  [[nodiscard]] Demand demand_of(Watched& one, const LoadBoard& loads, std::uint64_t now_ms) const;

  std::uint64_t segment_ = 0;
  std::vector<Watched> watched_;
  std::vector<Service> services_;
  std::vector<std::int32_t> of_slot_;  // index into watched_, or -1
};

}  // namespace ballast::checker
