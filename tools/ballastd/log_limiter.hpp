// How many lines of one kind the log gets: a burst, then so many a second, so that a network that
// flaps does not fill a disk. What is held back is counted and said later; the flight recorder has
// it all the same. Pure: the caller says what time it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ballast::tools {

class LogLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static constexpr std::uint64_t kBurst = 200;
  static constexpr std::uint64_t kPerSecond = 20;
  // Kinds are words of the program; more than that can only be a mistake, and share one allowance.
  static constexpr std::size_t kMostKinds = 256;

  // Whether a line of this kind may be written now: how many were held back since the last one, or
  // nothing if this one is held back, too.
  [[nodiscard]] std::optional<std::uint64_t> admit(const std::string& kind, Time now);

  // Kinds of which lines were held back, and which have been quiet long enough to be let through
  // again: to be said in a line of its own. Counts as that line.
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> take_overdue(Time now);

 private:
  struct Kind {
    double left = static_cast<double>(kBurst);
    Time seen;
    std::uint64_t held_back = 0;
  };
  static void refill(Kind& kind, Time now);

  std::map<std::string, Kind> kinds_;
};

}  // namespace ballast::tools
