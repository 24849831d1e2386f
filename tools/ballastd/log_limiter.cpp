// A bucket of lines for each kind, refilled as time goes by.
#include "tools/ballastd/log_limiter.hpp"

#include <algorithm>

namespace ballast::tools {

void LogLimiter::refill(Kind& kind, Time now) {
  const std::chrono::duration<double> passed = now - kind.seen;
  kind.left = std::min(static_cast<double>(kBurst),
                       kind.left + std::max(0.0, passed.count()) * static_cast<double>(kPerSecond));
  kind.seen = now;
}

std::optional<std::uint64_t> LogLimiter::admit(const std::string& name, Time now) {
  const bool is_known = kinds_.contains(name);
  const auto [place, is_new] =
      kinds_.try_emplace(is_known || kinds_.size() < kMostKinds ? name : std::string("other"));
  Kind& kind = place->second;
  if (is_new) kind.seen = now;
  refill(kind, now);
  if (kind.left < 1) {
    ++kind.held_back;
    return std::nullopt;
  }
  kind.left -= 1;
  return std::exchange(kind.held_back, 0);
}

std::vector<std::pair<std::string, std::uint64_t>> LogLimiter::take_overdue(Time now) {
  std::vector<std::pair<std::string, std::uint64_t>> overdue;
  for (auto& [name, kind] : kinds_) {
    if (kind.held_back == 0) continue;
    refill(kind, now);
    // Not as soon as there is room for one line: the flood may go on, and says it itself.
    if (kind.left < static_cast<double>(kPerSecond)) continue;
    kind.left -= 1;
    overdue.emplace_back(name, std::exchange(kind.held_back, 0));
  }
  return overdue;
}

}  // namespace ballast::tools
