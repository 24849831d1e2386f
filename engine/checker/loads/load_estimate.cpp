// Averages that fade with time or with outcomes.
#include "engine/checker/loads/load_estimate.hpp"

#include <algorithm>
#include <cmath>

namespace ballast::checker {

namespace {

// What has faded to less than this is nothing: without it numbers would be denormal some day.
constexpr double kNothing = 1e-6;
// No latency is counted as less: a cost of 0 would say that there is none.
constexpr double kLeastCostUs = 0.5;

double seconds_between(std::uint64_t from_ns, std::uint64_t to_ns) noexcept {
  return to_ns > from_ns ? static_cast<double>(to_ns - from_ns) * 1e-9 : 0;
}

double tau_of(CostRule rule, const LoadRules& rules) noexcept {
  return rule == CostRule::peak ? rules.peak_tau_s : rules.smooth_tau_s;
}

}  // namespace

LoadEstimate LoadEstimate::adopt(std::uint32_t cost_us, std::uint8_t errors,
                                 std::uint64_t latency_us, std::uint64_t qps_milli,
                                 std::uint64_t now_ns, const LoadRules& rules) noexcept {
  LoadEstimate e;
  e.faded_ns_ = e.sampled_ns_ = e.active_ns_ = e.rested_ns_ = now_ns;
  e.error_ = errors / 255.0;
  e.cost_us_ = cost_us * e.guard(rules);
  // No more than a hint, and mapped words may say anything.
  e.timed_ = latency_us == 0 ? 0 : 1;
  e.latency_sum_us_ = static_cast<double>(std::min<std::uint64_t>(latency_us, UINT32_MAX));
  e.per_second_ = static_cast<double>(std::min<std::uint64_t>(qps_milli, UINT32_MAX)) / 1000;
  return e;
}

double LoadEstimate::guard(const LoadRules& rules) const noexcept {
  return std::max(rules.least_guard, (1 - error_) * (1 - error_));
}

void LoadEstimate::fade(std::uint64_t now_ns, const LoadRules& rules) noexcept {
  const double dt = seconds_between(faded_ns_, now_ns);
  if (dt <= 0) return;
  faded_ns_ = now_ns;
  const double w = std::exp(-dt / rules.latency_tau_s);
  for (double* const sum : {&timed_, &latency_sum_us_})
    *sum = *sum * w < kNothing ? 0 : *sum * w;
  per_second_ *= std::exp(-dt / rules.rate_tau_s);
  if (per_second_ < kNothing) per_second_ = 0;
}

void LoadEstimate::add(const Traffic& traffic, std::uint64_t now_ns, CostRule rule,
                       const LoadRules& rules) noexcept {
  fade(now_ns, rules);
  if (traffic == Traffic{}) return;
  active_ns_ = rested_ns_ = std::max(active_ns_, now_ns);
  per_second_ += static_cast<double>(traffic.finished) / rules.rate_tau_s;
  if (const std::uint64_t judged = traffic.failures + traffic.successes; judged != 0) {
    const auto n = static_cast<double>(judged);
    const double w = std::exp(-n / rules.error_outcomes);
    error_ = error_ * w + static_cast<double>(traffic.failures) / n * (1 - w);
  }
  if (traffic.timed == 0) return;
  const auto timed = static_cast<double>(traffic.timed);
  timed_ += timed;
  latency_sum_us_ += static_cast<double>(traffic.latency_sum_us);
  const double mean = std::max(static_cast<double>(traffic.latency_sum_us) / timed, kLeastCostUs);
  if (!tried() || (rule == CostRule::peak && mean > cost_us_)) {
    cost_us_ = mean;
  } else {
    const double w = std::exp(-seconds_between(sampled_ns_, now_ns) / tau_of(rule, rules));
    cost_us_ = cost_us_ * w + mean * (1 - w);
  }
  sampled_ns_ = std::max(sampled_ns_, now_ns);
}

void LoadEstimate::rest(std::uint64_t now_ns, double median_us, CostRule rule,
                        const LoadRules& rules) noexcept {
  fade(now_ns, rules);
  if (now_ns < active_ns_ || now_ns - active_ns_ < kRestingNs) return;
  const double dt = seconds_between(rested_ns_, now_ns);
  rested_ns_ = std::max(rested_ns_, now_ns);
  error_ *= std::exp(-dt / rules.error_rest_tau_s);
  if (error_ < kNothing) error_ = 0;
  if (!tried() || median_us <= 0) return;
  const double w = std::exp(-dt / tau_of(rule, rules));
  cost_us_ = std::max(median_us + (cost_us_ - median_us) * w, kLeastCostUs);
}

}  // namespace ballast::checker
