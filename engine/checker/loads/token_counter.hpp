// Brings the words of the limits (shm/tokens.hpp) back to what the rows hold, after somebody died:
// the one part of them that needs a checker. While none lives, the tokens of the dead stay taken.
// A successor counts once unasked, so nothing is lost with the one who was at it.
#pragma once

#include <cstdint>

#include "shm/segment.hpp"

namespace ballast::checker {

// Where rows that were ever claimed times instances are more than this, counting takes more than
// some milliseconds and is not done at every tick.
inline constexpr std::uint64_t kHeldPerTick = std::uint64_t{1} << 15;

struct TokensCounted {
  std::uint64_t exact = 0;    // words that were right
  std::uint64_t changed = 0;  // words that are right now
  std::uint64_t busy = 0;     // words that are to be counted again
};

class TokenCounter {
 public:
  // Counts if anybody was reaped since the last time, or the last time some words were busy. While
  // `previous` is drained, its rows' tokens count in `segment`, too, and it is counted every time:
  // what is given back there changes no word here. To be called some ten times a second, with
  // `may_take_long` once: see kHeldPerTick.
  TokensCounted count(const shm::CheckerSegment& segment, const shm::CheckerSegment* previous,
                      bool may_take_long = true);

 private:
  std::uint64_t segment_ = 0;  // which one the rest is about
  std::uint64_t handled_ = 0;  // `tokens_dirty` as it was when everything had last been counted
  bool unfinished_ = true;
};

// For a segment that is not yet published: what is held in the one that it replaces is taken here.
void carry_tokens(const shm::CheckerSegment& from, const shm::CheckerSegment& to);

}  // namespace ballast::checker
