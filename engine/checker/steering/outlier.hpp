// Outlier detection: which instances of a service do worse than the others, by what the workers'
// requests went through rather than by checks, and for how long each stays away. Pure: deltas of
// counters, times and random numbers are passed in, decisions come out. The checker's steering
// keeps one Ejection per instance; if the checker dies, its successor makes them again from what
// the table says (until when, how often), and goes on.
//
// Values and their sources: Envoy's outlier detection (success rate, failure percentage, ejection
// times), with the guards against chance and against small sets that docs/protection.md explains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/checker/settings.hpp"

namespace ballast::checker {

// Beside the standard deviations, so that chance does not eject: of 20 equal instances one is below
// mean - 1.9 sigma every other interval, and of five of which one differs at all, that one always
// is. An instance must also be this much worse than the mean...
inline constexpr double kMinRateGap = 0.05;
// ...and further from it than what chance does to a rate of so few requests, in standard errors.
inline constexpr double kMinStandardErrors = 4.0;
// Others in a small set are well if they fail no more often than this together.
inline constexpr std::uint32_t kWellFailurePercent = 20;
// A mean latency must also be above the median of the others' by this: among backends that answer
// within microseconds a neighbouring zone is an "outlier" otherwise.
inline constexpr std::uint64_t kMinLatencyGapUs = 2'000;
// With fewer candidates than this, a set is small: see kWellFailurePercent.
inline constexpr std::size_t kSmallSet = 5;
// An operator's lasts at most so long.
inline constexpr std::uint64_t kMaxOperatorEjectionMs = 86'400'000;
// An ejection is stretched by up to this much, so that what was ejected together comes back apart.
inline constexpr std::uint32_t kEjectionJitterPercent = 10;

// What one instance's requests went through within one interval.
struct OutlierSample {
  std::uint64_t successes = 0;
  std::uint64_t failures = 0;  // outcomes that speak against the instance; cancelled ones do not
  std::uint64_t latency_sum_us = 0;
  std::uint64_t latency_count = 0;
  bool candidate = false;  // in use now: up, ready, not ejected, breaker closed

  [[nodiscard]] std::uint64_t requests() const noexcept { return successes + failures; }
};

enum class OutlierReason : std::uint8_t {
  none = 0,
  success_rate = 1,
  failure_percentage = 2,
  latency = 3,
  by_operator = 4,  // told to, not found out
};
[[nodiscard]] const char* to_text(OutlierReason reason) noexcept;

// An instance to eject, with the two numbers that people want to see: rates in percent (of
// successes or of failures, by the reason), latencies in microseconds.
struct OutlierVerdict {
  std::size_t instance = 0;  // index into the samples
  OutlierReason reason = OutlierReason::none;
  double value = 0;
  double limit = 0;
};

// Whom to eject now, the worst first: at most `places` (what the budget has left), and never the
// last candidate.
[[nodiscard]] std::vector<OutlierVerdict> find_outliers(const OutlierSettings& settings,
                                                        std::span<const OutlierSample> samples,
                                                        std::size_t places);

// One instance's ejections. Times are milliseconds of CLOCK_MONOTONIC, which a successor shares.
class Ejection {
 public:
  enum class End : std::uint8_t { not_yet, by_time, by_checks };

  Ejection() = default;
  // What a dead predecessor left. `until_ms` 0: not ejected. An end farther away than any ejection
  // lasts is from another clock, and counts as past.
  Ejection(const OutlierSettings& settings, std::uint32_t times, std::uint64_t until_ms,
           std::uint64_t now_ms, bool by_operator = false) noexcept;

  [[nodiscard]] bool active() const noexcept { return until_ms_ != 0; }
  [[nodiscard]] std::uint64_t until_ms() const noexcept { return until_ms_; }
  // How often it has been ejected without having stayed long enough in between.
  [[nodiscard]] std::uint32_t times() const noexcept { return times_; }

  // Ejects. `jitter` in [0, 1) is the caller's random number.
  void begin(const OutlierSettings& settings, std::uint64_t now_ms, double jitter) noexcept;

  // An operator's, for so long from now: neither checks nor settings end it early, and it does not
  // count as one more time.
  void begin_by_operator(std::uint64_t now_ms, std::uint64_t for_ms) noexcept;
  [[nodiscard]] bool by_operator() const noexcept { return by_operator_; }

  // Other settings hold from now on: it lasts no longer than they let any last.
  void shorten(const OutlierSettings& settings, std::uint64_t now_ms) noexcept;

  // A check of the instance finished. Once `rise` x times() passed in a row, the ejection is over,
  // but not before an interval is: checks that passed all along have not seen what it was ejected
  // for.
  void on_check(bool passed) noexcept;

  // To be asked now and then: whether it is over, and why. The caller then calls end().
  [[nodiscard]] End due(std::uint32_t rise, std::uint64_t now_ms) const noexcept;

  void end(std::uint64_t now_ms) noexcept;

  // Forgets one ejection for each `settings.ejection` that the instance has stayed in use. To be
  // called now and then while it is not ejected.
  void forget(const OutlierSettings& settings, std::uint64_t now_ms) noexcept;

 private:
  std::uint32_t times_ = 0;
  std::uint32_t passes_ = 0;
  bool by_operator_ = false;  // only while it is active
  std::uint64_t until_ms_ = 0;
  std::uint64_t earliest_ms_ = 0;  // for checks to end it
  std::uint64_t well_since_ms_ = 0;
};

}  // namespace ballast::checker
