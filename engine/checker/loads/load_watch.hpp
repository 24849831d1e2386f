// The load board at work on a segment: when it looks, which members it has, and where it publishes.
// The publisher owns one and calls it from the checker's loop. If the checker dies, loads stand
// still, `load_beat` with them, and picks add up rows themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/checker/loads/load_board.hpp"
#include "shm/segment.hpp"

namespace ballast::checker {

class LoadWatch {
 public:
  // What a look may be put off to while nothing moves.
  static constexpr std::chrono::nanoseconds kRestingInterval = std::chrono::milliseconds(50);
  // Between two looks when no pick asks for loads: totals for outlier detection and for people.
  static constexpr std::chrono::nanoseconds kIdleInterval = std::chrono::seconds(1);

  explicit LoadWatch(const LoadRules& rules = {}) : rules_(rules), board_(rules) {}

  // The members from now on. With another segment than before, the board begins anew from what the
  // segment's table says. `interval`: between two looks while something moves. `needed`: some
  // service's picks ask for loads.
  void follow(const shm::CheckerSegment& segment, const std::vector<LoadMember>& members,
              std::chrono::nanoseconds interval, bool needed, std::uint64_t now_ns);
  // One look. Returns when the next one is due.
  std::chrono::nanoseconds look(const shm::CheckerSegment& segment, std::uint64_t now_ns);
  // The carried counters changed.
  void carried_changed(const shm::CheckerSegment& segment);
  void forget(std::uint16_t slot) noexcept { board_.forget(slot); }

  [[nodiscard]] const LoadBoard& board() const noexcept { return board_; }

 private:
  LoadRules rules_;
  LoadBoard board_;
  std::uint64_t segment_ = 0;
  std::chrono::nanoseconds interval_{kIdleInterval};
  std::chrono::nanoseconds current_{kIdleInterval};  // as put off while nothing moves
  bool needed_ = false;
};

}  // namespace ballast::checker
