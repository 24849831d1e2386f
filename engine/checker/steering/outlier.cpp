// The three rules, and the count of ejections.
#include "engine/checker/steering/outlier.hpp"

#include <algorithm>
#include <cmath>

namespace ballast::checker {
namespace {

// Ejections beyond this change nothing: the longest ejection is reached long before.
constexpr std::uint32_t kMaxTimes = 1000;

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::uint64_t longest_ms(const OutlierSettings& settings) {
  return static_cast<std::uint64_t>(settings.ejection_max.count() * (100 + kEjectionJitterPercent) /
                                    100);
}

using Samples = std::span<const OutlierSample>;

void judge_success_rates(const OutlierSettings& settings, Samples samples,
                         std::vector<OutlierVerdict>& verdicts) {
  if (settings.success_rate_sigma_tenths == 0) return;
  const auto counts = [&](const OutlierSample& s) {
    return s.candidate &&
           s.requests() >= std::max<std::uint64_t>(1, settings.success_rate_requests);
  };
  double sum = 0;
  double squares = 0;
  std::size_t n = 0;
  for (const OutlierSample& s : samples) {
    if (!counts(s)) continue;
    const double rate = share(s.successes, s.requests());
    sum += rate;
    squares += rate * rate;
    ++n;
  }
  if (n < std::max<std::uint32_t>(2, settings.success_rate_instances)) return;
  const double mean = sum / static_cast<double>(n);
  const double sigma = std::sqrt(std::max(0.0, squares / static_cast<double>(n) - mean * mean));
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (!counts(samples[i])) continue;
    const auto requests = static_cast<double>(samples[i].requests());
    const double error = std::sqrt(std::max(0.0, mean * (1 - mean)) / requests);
    const double gap = std::max({settings.success_rate_sigma_tenths / 10.0 * sigma, kMinRateGap,
                                 kMinStandardErrors * error});
    const double rate = share(samples[i].successes, samples[i].requests());
    if (rate < mean - gap) {
      verdicts.push_back({i, OutlierReason::success_rate, 100 * rate, 100 * (mean - gap)});
    }
  }
}

void judge_failures(const OutlierSettings& settings, Samples samples,
                    std::vector<OutlierVerdict>& verdicts) {
  if (settings.failure_percent == 0) return;
  const auto min_requests = std::max<std::uint64_t>(1, settings.failure_requests);
  std::uint64_t all_failures = 0;
  std::uint64_t all_requests = 0;
  std::size_t n = 0;
  for (const OutlierSample& s : samples) {
    if (!s.candidate) continue;
    all_failures += s.failures;
    all_requests += s.requests();
    ++n;
  }
  // With few instances one of them is a large part of the service: it goes only if the rest is
  // proved to be able to take over. With many, it is enough that not everybody is as bad.
  const bool small = n < kSmallSet;
  const std::uint32_t well_percent =
      small ? std::min(kWellFailurePercent, settings.failure_percent - 1)
            : settings.failure_percent - 1;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const OutlierSample& s = samples[i];
    if (!s.candidate || s.requests() < min_requests) continue;
    if (s.failures * 100 < settings.failure_percent * s.requests()) continue;
    const std::uint64_t others_failures = all_failures - s.failures;
    const std::uint64_t others_requests = all_requests - s.requests();
    if (others_requests < min_requests) continue;
    if (others_failures * 100 > well_percent * others_requests) continue;
    verdicts.push_back({i, OutlierReason::failure_percentage, 100 * share(s.failures, s.requests()),
                        static_cast<double>(settings.failure_percent)});
  }
}

void judge_latencies(const OutlierSettings& settings, Samples samples,
                     std::vector<OutlierVerdict>& verdicts) {
  if (settings.latency_factor_tenths == 0) return;
  struct Mean {
    double us;
    std::size_t instance;
  };
  std::vector<Mean> means;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const OutlierSample& s = samples[i];
    if (!s.candidate) continue;
    if (s.latency_count < std::max<std::uint64_t>(1, settings.latency_requests)) continue;
    means.push_back({share(s.latency_sum_us, s.latency_count), i});
  }
  // Of two that differ nobody can say which is the odd one.
  if (means.size() < 3) return;
  std::sort(means.begin(), means.end(), [](const Mean& a, const Mean& b) {
    return a.us != b.us ? a.us < b.us : a.instance < b.instance;
  });
  // The median of the others needs no second sort: leaving one out shifts what lies above it.
  const std::size_t others = means.size() - 1;
  for (std::size_t at = 0; at < means.size(); ++at) {
    const auto other = [&](std::size_t i) { return means[i < at ? i : i + 1].us; };
    const double median = (other((others - 1) / 2) + other(others / 2)) / 2;
    const double limit = std::max(settings.latency_factor_tenths / 10.0 * median,
                                  median + static_cast<double>(kMinLatencyGapUs));
    if (means[at].us > limit) {
      verdicts.push_back({means[at].instance, OutlierReason::latency, means[at].us, limit});
    }
  }
}

// How bad, comparable between rules: failures first (they cost an answer), then slowness.
double badness(const OutlierVerdict& v) {
  switch (v.reason) {
    case OutlierReason::failure_percentage:
      return 1000 + v.value;
    case OutlierReason::success_rate:
      return 1000 + (100 - v.value);
    case OutlierReason::latency:
      return v.limit <= 0 ? 0 : std::min(999.0, v.value / v.limit);
    case OutlierReason::none:
    case OutlierReason::by_operator:
      break;
  }
  return 0;
}

}  // namespace

const char* to_text(OutlierReason reason) noexcept {
  switch (reason) {
    case OutlierReason::none:
      return "none";
    case OutlierReason::success_rate:
      return "success_rate";
    case OutlierReason::failure_percentage:
      return "failure_percentage";
    case OutlierReason::latency:
      return "latency";
    case OutlierReason::by_operator:
      return "operator";
  }
  return "unknown";
}

std::vector<OutlierVerdict> find_outliers(const OutlierSettings& settings,
                                          std::span<const OutlierSample> samples,
                                          std::size_t places) {
  std::vector<OutlierVerdict> verdicts;
  const auto candidates = static_cast<std::size_t>(std::count_if(
      samples.begin(), samples.end(), [](const OutlierSample& s) { return s.candidate; }));
  if (candidates < 2 || places == 0) return verdicts;
  judge_failures(settings, samples, verdicts);
  judge_success_rates(settings, samples, verdicts);
  judge_latencies(settings, samples, verdicts);
  std::sort(verdicts.begin(), verdicts.end(), [](const OutlierVerdict& a, const OutlierVerdict& b) {
    const double x = badness(a);
    const double y = badness(b);
    if (x != y) return x > y;
    return a.instance != b.instance ? a.instance < b.instance : a.reason > b.reason;
  });
  // One verdict an instance: the worst.
  std::vector<bool> seen(samples.size());
  std::erase_if(verdicts, [&](const OutlierVerdict& v) {
    const bool again = seen[v.instance];
    seen[v.instance] = true;
    return again;
  });
  verdicts.resize(std::min({verdicts.size(), places, candidates - 1}));
  return verdicts;
}

Ejection::Ejection(const OutlierSettings& settings, std::uint32_t times, std::uint64_t until_ms,
                   std::uint64_t now_ms, bool by_operator) noexcept
    : times_(std::min(times, kMaxTimes)), well_since_ms_(now_ms) {
  const std::uint64_t longest = by_operator ? kMaxOperatorEjectionMs : longest_ms(settings);
  if (until_ms > now_ms && until_ms - now_ms <= longest) {
    until_ms_ = until_ms;
    by_operator_ = by_operator;
    if (!by_operator) times_ = std::max<std::uint32_t>(times_, 1);
  }
}

void Ejection::begin_by_operator(std::uint64_t now_ms, std::uint64_t for_ms) noexcept {
  by_operator_ = true;
  passes_ = 0;
  until_ms_ = now_ms + std::clamp<std::uint64_t>(for_ms, 1, kMaxOperatorEjectionMs);
}

void Ejection::begin(const OutlierSettings& settings, std::uint64_t now_ms,
                     double jitter) noexcept {
  times_ = std::min(times_ + 1, kMaxTimes);
  passes_ = 0;
  const auto length = std::min(settings.ejection * times_, settings.ejection_max);
  const double stretch = 1 + std::clamp(jitter, 0.0, 1.0) * kEjectionJitterPercent / 100;
  const auto ms = static_cast<std::uint64_t>(static_cast<double>(length.count()) * stretch);
  until_ms_ = now_ms + std::max<std::uint64_t>(1, ms);
  earliest_ms_ = now_ms + static_cast<std::uint64_t>(settings.interval.count());
}

void Ejection::shorten(const OutlierSettings& settings, std::uint64_t now_ms) noexcept {
  if (active() && !by_operator_) until_ms_ = std::min(until_ms_, now_ms + longest_ms(settings));
}

void Ejection::on_check(bool passed) noexcept {
  passes_ = passed && active() ? passes_ + 1 : 0;
}

Ejection::End Ejection::due(std::uint32_t rise, std::uint64_t now_ms) const noexcept {
  if (!active()) return End::not_yet;
  const std::uint64_t enough = std::uint64_t{std::max<std::uint32_t>(1, rise)} * times_;
  if (!by_operator_ && passes_ >= enough && now_ms >= earliest_ms_) return End::by_checks;
  return now_ms >= until_ms_ ? End::by_time : End::not_yet;
}

void Ejection::end(std::uint64_t now_ms) noexcept {
  until_ms_ = 0;
  by_operator_ = false;
  passes_ = 0;
  well_since_ms_ = now_ms;
}

void Ejection::forget(const OutlierSettings& settings, std::uint64_t now_ms) noexcept {
  if (active()) return;
  if (times_ == 0 || now_ms < well_since_ms_) {
    well_since_ms_ = now_ms;
    return;
  }
  const auto period = static_cast<std::uint64_t>(
      std::max<std::int64_t>(1, static_cast<std::int64_t>(settings.ejection.count())));
  const std::uint64_t forgotten =
      std::min<std::uint64_t>((now_ms - well_since_ms_) / period, times_);
  times_ -= static_cast<std::uint32_t>(forgotten);
  well_since_ms_ += forgotten * period;
}

}  // namespace ballast::checker
