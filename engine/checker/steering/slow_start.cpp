// The curve and its rounding.
#include "engine/checker/steering/slow_start.hpp"

#include <algorithm>
#include <cmath>

#include "shm/state_word.hpp"

namespace ballast::checker {
namespace {

constexpr double kMaxEffective = 65535;

}  // namespace

double slow_start_share(const SlowStartSettings& settings, Milliseconds elapsed) noexcept {
  if (settings.window.count() <= 0 || elapsed >= settings.window) return 1;
  const double least = std::clamp(settings.floor_percent, 1U, 100U) / 100.0;
  if (elapsed.count() <= 0) return least;
  const double part =
      static_cast<double>(elapsed.count()) / static_cast<double>(settings.window.count());
  const double grown =
      settings.aggression_tenths > 0 ? std::pow(part, 10.0 / settings.aggression_tenths) : part;
  return std::clamp(grown, least, 1.0);
}

std::uint16_t effective_weight(std::uint32_t weight, double share) noexcept {
  const double exact = shm::kWeightUnit * weight * std::clamp(share, 0.0, 1.0);
  return static_cast<std::uint16_t>(std::clamp(std::round(exact), 1.0, kMaxEffective));
}

double Ramp::share(const SlowStartSettings& settings, std::uint64_t now_ms) noexcept {
  if (!running()) return 1;
  const std::uint64_t elapsed = now_ms > started_ms_ ? now_ms - started_ms_ : 0;
  const std::uint64_t longest =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, settings.window.count()));
  const double now = slow_start_share(
      settings, Milliseconds(static_cast<std::int64_t>(std::min(elapsed, longest))));
  if (now >= 1) stop();
  return now;
}

}  // namespace ballast::checker
