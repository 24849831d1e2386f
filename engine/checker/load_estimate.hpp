// What is known of one instance's load, worked out from what went through it between two looks:
// cost (peak EWMA of latency), mean latency, share of errors, requests a second. Private memory of
// the checker's load board; a successor begins from the values that were published
// (`adopt`). Pure: the time is passed in, as nanoseconds of a clock that never goes back.
#pragma once

#include <cstdint>

namespace ballast::checker {

struct LoadRules {
  double tau_s = 10;      // within which cost, latency and errors fade to 1/e (Finagle's 10 s)
  double rate_tau_s = 2;  // likewise requests a second
  // Of the requests in flight of a service's instances; those above it are hot. Prequal's paper has
  // 0.84, which herds with few instances; 0.6 does so less.
  double hot_quantile = 0.6;
};

// What an instance went through between two looks.
struct Traffic {
  std::uint64_t finished = 0;   // all outcomes
  std::uint64_t successes = 0;  // those that say that it is well
  std::uint64_t failures = 0;   // those that speak against it; cancelled and abandoned do neither
  std::uint64_t timed = 0;      // reports with a latency
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
  // Nothing is known: the cost is to be the service's median (`tried` is false).
  LoadEstimate() = default;
  // As published: the cost with its guard, errors in 255ths.
  static LoadEstimate adopt(std::uint32_t cost_us, std::uint8_t errors, std::uint64_t latency_us,
                            std::uint64_t qps_milli, std::uint64_t now_ns) noexcept;

  // Takes in what happened until `now_ns`. The mean of the reports with a latency counts as one
  // sample: above the cost it becomes the cost, else cost = cost * w + sample * (1 - w) with
  // w = exp(-dt / tau), dt since the sample before (Finagle's peak EWMA).
  void add(const Traffic& traffic, std::uint64_t now_ns, const LoadRules& rules) noexcept;
  // Nothing happened and nothing is in flight. A cost above the service's median goes back to it
  // within tau, so that an instance which was slow once is tried again; one below stays.
  void rest(std::uint64_t now_ns, double median_us, const LoadRules& rules) noexcept;

  [[nodiscard]] bool tried() const noexcept { return cost_us_ > 0; }
  // Peak EWMA, without the guard. 0: never tried.
  [[nodiscard]] double cost_us() const noexcept { return cost_us_; }
  // What the cost is divided by: 1 - failures / (judged + 1), both fading with tau. So a host that
  // fails quickly costs as many times more as it has failed of late, and one that is not asked any
  // more is trusted again.
  [[nodiscard]] double guard() const noexcept { return 1 - failures_ / (judged_ + 1); }
  [[nodiscard]] double error_share() const noexcept {
    return judged_ > 0 ? failures_ / judged_ : 0;
  }
  [[nodiscard]] double latency_us() const noexcept {
    return timed_ > 0 ? latency_sum_us_ / timed_ : 0;
  }
  [[nodiscard]] double per_second() const noexcept { return per_second_; }

 private:
  void fade(std::uint64_t now_ns, const LoadRules& rules) noexcept;

  double cost_us_ = 0;
  double failures_ = 0;
  double judged_ = 0;
  double timed_ = 0;
  double latency_sum_us_ = 0;
  double per_second_ = 0;
  std::uint64_t faded_ns_ = 0;
  std::uint64_t sampled_ns_ = 0;
  std::uint64_t rested_ns_ = 0;
};

}  // namespace ballast::checker
