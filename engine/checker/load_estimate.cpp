// Fading sums and the peak EWMA.
#include "engine/checker/load_estimate.hpp"

#include <algorithm>
#include <cmath>

namespace ballast::checker {

namespace {

// Sums that have faded to less than this are nothing: without it they would be denormal some day.
constexpr double kNothing = 1e-6;
// How many requests a share of errors that was found in the table stands for.
constexpr double kAdoptedRequests = 20;
// No latency is counted as less: a cost of 0 would say that there is none.
constexpr double kLeastCostUs = 0.5;

double seconds_between(std::uint64_t from_ns, std::uint64_t to_ns) noexcept {
  return to_ns > from_ns ? static_cast<double>(to_ns - from_ns) * 1e-9 : 0;
}

}  // namespace

LoadEstimate LoadEstimate::adopt(std::uint32_t cost_us, std::uint8_t errors,
                                 std::uint64_t latency_us, std::uint64_t qps_milli,
                                 std::uint64_t now_ns) noexcept {
  LoadEstimate e;
  e.faded_ns_ = e.sampled_ns_ = e.rested_ns_ = now_ns;
  if (errors != 0) {
    e.judged_ = kAdoptedRequests;
    e.failures_ = kAdoptedRequests * errors / 255;
  }
  e.cost_us_ = cost_us * e.guard();
  // No more than a hint, and mapped words may say anything.
  e.timed_ = latency_us == 0 ? 0 : 1;
  e.latency_sum_us_ = static_cast<double>(std::min<std::uint64_t>(latency_us, UINT32_MAX));
  e.per_second_ = static_cast<double>(std::min<std::uint64_t>(qps_milli, UINT32_MAX)) / 1000;
  return e;
}

void LoadEstimate::fade(std::uint64_t now_ns, const LoadRules& rules) noexcept {
  const double dt = seconds_between(faded_ns_, now_ns);
  faded_ns_ = std::max(faded_ns_, now_ns);
  if (dt <= 0) return;
  const double w = std::exp(-dt / rules.tau_s);
  for (double* const sum : {&failures_, &judged_, &timed_, &latency_sum_us_})
    *sum = *sum * w < kNothing ? 0 : *sum * w;
  per_second_ *= std::exp(-dt / rules.rate_tau_s);
  if (per_second_ < kNothing) per_second_ = 0;
}

void LoadEstimate::add(const Traffic& traffic, std::uint64_t now_ns,
                       const LoadRules& rules) noexcept {
  fade(now_ns, rules);
  failures_ += static_cast<double>(traffic.failures);
  judged_ += static_cast<double>(traffic.failures + traffic.successes);
  per_second_ += static_cast<double>(traffic.finished) / rules.rate_tau_s;
  rested_ns_ = now_ns;
  if (traffic.timed == 0) return;
  const double timed = static_cast<double>(traffic.timed);
  timed_ += timed;
  latency_sum_us_ += static_cast<double>(traffic.latency_sum_us);
  const double sample = std::max(static_cast<double>(traffic.latency_sum_us) / timed, kLeastCostUs);
  if (sample > cost_us_) {
    cost_us_ = sample;
  } else {
    const double w = std::exp(-seconds_between(sampled_ns_, now_ns) / rules.tau_s);
    cost_us_ = cost_us_ * w + sample * (1 - w);
  }
  sampled_ns_ = now_ns;
}

void LoadEstimate::rest(std::uint64_t now_ns, double median_us, const LoadRules& rules) noexcept {
  fade(now_ns, rules);
  const double dt = seconds_between(rested_ns_, now_ns);
  rested_ns_ = std::max(rested_ns_, now_ns);
  if (cost_us_ <= median_us || median_us <= 0) return;
  const double w = std::exp(-dt / rules.tau_s);
  cost_us_ = std::max(median_us + (cost_us_ - median_us) * w, kLeastCostUs);
}

}  // namespace ballast::checker
