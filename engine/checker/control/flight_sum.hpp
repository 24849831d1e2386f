// What is in flight at some instances, added up over all rows in pieces: there may be thousands of
// rows and of instances, and the loop has checks to make meanwhile. Where no request can begin any
// more, the sum of a piecewise reading is never below what is in flight at its end. Used by the
// control desk's helpers, on the loop's thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/checker/publishing/publisher.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

// An instance whose requests are counted.
struct DrainingSlot {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;

  friend auto operator<=>(const DrainingSlot&, const DrainingSlot&) = default;
};

class FlightSum {
 public:
  FlightSum() = default;
  explicit FlightSum(std::vector<DrainingSlot> slots) : slots_(std::move(slots)) {}

  // Goes on until the end, or until then; a piece at least. True at the end.
  bool step(const Publisher& publisher, std::chrono::steady_clock::time_point until);
  // By the slots' places, once it has come to the end.
  [[nodiscard]] const std::vector<std::uint64_t>& counts() const noexcept { return counts_; }
  [[nodiscard]] const std::vector<DrainingSlot>& slots() const noexcept { return slots_; }

 private:
  // How far the rows of a segment are added up.
  struct Walk {
    std::vector<std::size_t> used{};  // of `slots_`
    std::uint64_t row = 0;
    std::size_t at = 0;  // of `used`, in that row
  };

  void begin(const Publisher& publisher);
  [[nodiscard]] bool go_on(const shm::CheckerSegment& segment, Walk& walk,
                           std::chrono::steady_clock::time_point until);

  std::vector<DrainingSlot> slots_;
  std::uint64_t segment_ = 0;   // 0: not begun
  std::uint64_t replaced_ = 0;  // the one before it, while workers are in it
  std::vector<shm::Totals> totals_;
  Walk active_walk_;
  Walk replaced_walk_;
  std::vector<std::uint64_t> counts_;
};

}  // namespace ballast::checker
