// Estimates, scores, targets, damping: one pass each.
#include "engine/checker/steering/weight_controller.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ballast::checker {
namespace {

constexpr double kLeastUtilisation = 0.01;  // below it a report is mostly rounding
constexpr double kMostErrors = 0.95;        // so that a cost stays finite
constexpr double kLeastQps = 0.1;           // below it qps / utilisation says nothing
constexpr double kMostLatencies = 20;       // of the usual one: more is the floor anyway
constexpr double kSettled = 0.002;          // a weight this near to its target has arrived

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 != 0) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

void estimate(const ControlInput& input, double elapsed_s, Controlled& c) {
  if (!input.in_use) {
    c.qps = 0;
    c.latency_us = 0;  // of before, and of no use when it comes back
    c.error_rate = 0;
    c.unheard_ms = 0;
    c.utilisation = 0;
    return;
  }
  c.utilisation = input.utilisation;
  const double qps = elapsed_s > 0 ? static_cast<double>(input.finished) / elapsed_s : 0;
  c.qps = c.qps <= 0 ? qps : c.qps + 0.5 * (qps - c.qps);
  if (input.finished == 0) {
    c.unheard_ms += static_cast<std::uint64_t>(elapsed_s * 1000);
    return;
  }
  c.unheard_ms = 0;
  const auto gain = [](std::uint64_t count) {
    return 1 - std::exp(-static_cast<double>(count) / kSmoothingRequests);
  };
  const double errors = static_cast<double>(std::min(input.failed, input.finished)) /
                        static_cast<double>(input.finished);
  c.error_rate += gain(input.finished) * (errors - c.error_rate);
  if (input.latency_count == 0) return;
  const double latency = std::max(
      1.0, static_cast<double>(input.latency_sum_us) / static_cast<double>(input.latency_count));
  c.latency_us = c.latency_us <= 0
                     ? latency
                     : c.latency_us + gain(input.latency_count) * (latency - c.latency_us);
}

double as_target(double part_of_best) {
  if (part_of_best >= kAsGoodAsBest) return 1;
  if (part_of_best <= kClearlyWorse) return part_of_best;
  return kClearlyWorse +
         (part_of_best - kClearlyWorse) * (1 - kClearlyWorse) / (kAsGoodAsBest - kClearlyWorse);
}

}  // namespace

void update_weights(const ControllerSettings& settings, Milliseconds elapsed,
                    std::span<const ControlInput> inputs, std::span<Controlled> instances) {
  const std::size_t n = std::min(inputs.size(), instances.size());
  const double elapsed_s = std::max(1e-3, static_cast<double>(elapsed.count()) / 1000);
  const auto blackout_ms = static_cast<std::uint64_t>(settings.blackout.count());
  const auto expiry_ms = static_cast<std::uint64_t>(settings.expiry.count());
  const double penalty = settings.error_penalty_percent / 100.0;

  std::size_t in_use = 0;
  std::size_t reporting = 0;
  const auto reports = [&](std::size_t i) {
    return inputs[i].utilisation > 0 && inputs[i].report_age_ms <= expiry_ms;
  };
  std::vector<double> latencies;
  for (std::size_t i = 0; i < n; ++i) {
    estimate(inputs[i], elapsed_s, instances[i]);
    if (!inputs[i].in_use) continue;
    ++in_use;
    if (reports(i)) ++reporting;
    if (instances[i].latency_us > 0) latencies.push_back(instances[i].latency_us);
  }
  // The two kinds of score cannot be compared, so one holds for the whole service.
  const bool by_reports = reporting * 2 > in_use;
  const double usual_latency = median(std::move(latencies));

  // What is far beyond the floor would only take the longer to forget.
  for (Controlled& c : instances.first(n)) {
    if (usual_latency > 0) c.latency_us = std::min(c.latency_us, kMostLatencies * usual_latency);
  }

  std::vector<double> scores(n);  // 0: not judged
  double best = 0;
  for (std::size_t i = 0; i < n; ++i) {
    Controlled& c = instances[i];
    if (!inputs[i].in_use) {
      c.reason = WeightReason::not_in_use;
    } else if (inputs[i].in_use_for_ms < blackout_ms) {
      c.reason = WeightReason::blackout;
    } else if (by_reports && !reports(i)) {
      c.reason = WeightReason::no_report;
    } else if (c.unheard_ms >= expiry_ms) {
      c.reason = WeightReason::expired;
    } else if (by_reports && c.qps >= kLeastQps) {
      c.reason = WeightReason::reported;
      const double qps = inputs[i].reported_qps > 0 ? inputs[i].reported_qps : c.qps;
      const double errors =
          inputs[i].reported_error_rate > 0 ? inputs[i].reported_error_rate : c.error_rate;
      const double use = std::max(c.utilisation, kLeastUtilisation) + penalty * errors;
      scores[i] = qps / use / std::max<std::uint32_t>(1, inputs[i].weight);
    } else if (!by_reports && c.latency_us > 0) {
      c.reason = WeightReason::observed;
      const double e = std::min(c.error_rate, kMostErrors);
      scores[i] = (1 - e) / (c.latency_us + penalty * e * usual_latency);
    } else if (c.reason != WeightReason::reported && c.reason != WeightReason::observed) {
      c.reason = WeightReason::configured;  // in use and heard of, but not measured so far
    }
    best = std::max(best, scores[i]);
  }

  const double floor = std::clamp(settings.floor_percent, 1U, 100U) / 100.0;
  std::vector<double> targets;
  for (std::size_t i = 0; i < n; ++i) {
    if (scores[i] <= 0) continue;
    instances[i].target = std::clamp(as_target(scores[i] / best), floor, 1.0);
    targets.push_back(instances[i].target);
  }
  const double usual_target = targets.empty() ? 1 : median(std::move(targets));
  const double damping = std::clamp(settings.damping_percent, 1U, 100U) / 100.0;
  for (std::size_t i = 0; i < n; ++i) {
    Controlled& c = instances[i];
    switch (c.reason) {
      case WeightReason::not_in_use:
        continue;  // stays as it is: nobody sees it
      case WeightReason::blackout:
      case WeightReason::no_report:
        c.target = usual_target;
        break;
      case WeightReason::expired:
      case WeightReason::configured:
        c.target = 1;
        break;
      case WeightReason::reported:
      case WeightReason::observed:
        break;
    }
    // Half and double at most at once, however far away the target: a queue that has built up makes
    // a latency look worse than the instance is.
    const double next = std::clamp(c.target, c.multiplier / 2, c.multiplier * 2);
    c.multiplier += damping * (next - c.multiplier);
    if (std::abs(c.multiplier - c.target) < kSettled) c.multiplier = c.target;
    c.multiplier = std::clamp(c.multiplier, floor, 1.0);
  }
}

}  // namespace ballast::checker
