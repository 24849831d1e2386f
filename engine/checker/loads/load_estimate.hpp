// What is known of one instance's load, worked out from what went through it between two looks:
// cost of a request (from latencies and errors), mean latency, share of errors, requests a second.
// Private memory of the checker's load board; a successor begins from the values that were
// published (`adopt`). Pure: the time is passed in, as nanoseconds of a clock that never goes back.
// docs/load.md says where the numbers come from.
#pragma once

#include <cstdint>

namespace ballast::checker {

// How a service's cost follows latency.
enum class CostRule : std::uint8_t {
  // Up at once, down with tau (Finagle's peak EWMA): for least_response_time, where a slow answer
  // is a warning.
  peak = 0,
  // A plain time-weighted average, tau 1 s: for adaptive, where with work of heavy tails the peak
  // would be noise.
  smooth = 1,
};

struct LoadRules {
  double peak_tau_s = 10;
  double smooth_tau_s = 1;
  double latency_tau_s = 10;  // of the mean latency that people and the weight controller see
  double rate_tau_s = 2;      // of requests a second
  // Errors are averaged over about so many outcomes, not over a time: a host that begins to fail
  // would stand on thousands of old successes.
  double error_outcomes = 10;
  double error_rest_tau_s = 3;  // within which an instance that is not asked is trusted again
  double untried_factor = 2;    // of the service's median cost, for one never tried or just back
  // Of the median: no instance costs more, or one that hung once would stay away for minutes.
  double most_factor = 10;
  double least_guard = 0.01;
  // Of the requests in flight of a service's instances; those above it are hot. Prequal's paper has
  // 0.84, which herds with few instances; 0.6 does so less.
  double hot_quantile = 0.6;
};

// What an instance went through between two looks.
struct Traffic {
  std::uint64_t finished = 0;   // all outcomes
  std::uint64_t successes = 0;  // those that say that it is well
  std::uint64_t failures = 0;   // those that speak against it; cancelled and abandoned do neither
  std::uint64_t timed = 0;      // reports with a latency that counts
  std::uint64_t latency_sum_us = 0;

  Traffic& operator+=(const Traffic& other) noexcept {
    finished += other.finished;
    successes += other.successes;
    failures += other.failures;
    timed += other.timed;
    latency_sum_us += other.latency_sum_us;
    return *this;
  }
  friend bool operator==(const Traffic&, const Traffic&) = default;
};

class LoadEstimate {
 public:
  // An instance without traffic for less than this is not resting, merely between two requests.
  static constexpr std::uint64_t kRestingNs = 50'000'000;

  // Nothing is known: `tried` is false.
  LoadEstimate() = default;
  // As published: the cost with its guard, errors in 255ths.
  static LoadEstimate adopt(std::uint32_t cost_us, std::uint8_t errors, std::uint64_t latency_us,
                            std::uint64_t qps_milli, std::uint64_t now_ns,
                            const LoadRules& rules = {}) noexcept;

  // Takes in what happened until `now_ns`. Latencies that came between two looks are one sample,
  // their mean m: cost = cost * w + m * (1 - w) with w = exp(-dt / tau), dt since the sample
  // before; by the peak rule m at once if it is higher. Errors: error = error * w + (failures / n)
  // * (1 - w) with w = exp(-n / error_outcomes), n the outcomes that judge.
  void add(const Traffic& traffic, std::uint64_t now_ns, CostRule rule,
           const LoadRules& rules) noexcept;
  // Nothing happened, and nothing is in flight. Once it rests, its cost drifts to the service's
  // median within the rule's tau, so that one which was slow is tried again, and its errors are
  // forgiven. So neither can keep an instance away for ever.
  void rest(std::uint64_t now_ns, double median_us, CostRule rule, const LoadRules& rules) noexcept;

  [[nodiscard]] bool tried() const noexcept { return cost_us_ > 0; }
  // Without the guard. 0: never tried.
  [[nodiscard]] double cost_us() const noexcept { return cost_us_; }
  // What the cost is divided by: max(least_guard, (1 - error)^2). So one that fails quickly does
  // not look cheap; the square because what it gets is then less than in proportion to what it
  // serves.
  [[nodiscard]] double guard(const LoadRules& rules) const noexcept;
  [[nodiscard]] double error_share() const noexcept { return error_; }
  [[nodiscard]] double latency_us() const noexcept {
    return timed_ > 0 ? latency_sum_us_ / timed_ : 0;
  }
  [[nodiscard]] double per_second() const noexcept { return per_second_; }

 private:
  void fade(std::uint64_t now_ns, const LoadRules& rules) noexcept;

  double cost_us_ = 0;
  double error_ = 0;
  double timed_ = 0;
  double latency_sum_us_ = 0;
  double per_second_ = 0;
  std::uint64_t faded_ns_ = 0;
  std::uint64_t sampled_ns_ = 0;  // when it last had a latency
  std::uint64_t active_ns_ = 0;   // when it last had any traffic
  std::uint64_t rested_ns_ = 0;   // until when drift is reckoned
};

}  // namespace ballast::checker
