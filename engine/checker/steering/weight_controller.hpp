// The controller of effective weights: what part of its configured weight each instance of a
// service gets, from the load that backends report or else from what workers observe of them. Pure:
// deltas of counters and the time are passed in. The checker's steering keeps one Controlled per
// instance and calls `update_weights` once an update period; if the checker dies the weights stand,
// and its successor starts from them.
//
//   reported   score = qps / (utilisation + penalty * eps / qps) / configured weight     (gRPC A58)
//   observed   score = 1 / cost, cost = (latency + penalty * e * median latency) / (1 - e)
//   target     score / best score, brought within [floor, 1]
//   weight    += damping * (target - weight)
//
// e is the part of requests that failed. A failure costs as much as a request of the usual latency
// would on top, and drives the cost up without limit as e nears 1: an instance that fails quickly
// must not look like a quick one. docs/adaptive.md says why this converges and when it does not.
#pragma once

#include <cstdint>
#include <span>

#include "engine/checker/settings.hpp"
#include "engine/weight_reason.hpp"

namespace ballast::checker {

using engine::WeightReason;

// A target this near to the best counts as the best: instances that differ by chance keep their
// whole weight. Between the two the target grows from itself to 1 without a jump.
inline constexpr double kAsGoodAsBest = 0.9;
inline constexpr double kClearlyWorse = 0.8;
// Estimates follow new requests with a weight of 1 - exp(-count / this): smoothing by requests, not
// by time, so that a busy service is followed quickly and a quiet one is not judged by three.
inline constexpr double kSmoothingRequests = 100;

// What is known of one instance since the last update.
struct ControlInput {
  bool in_use = false;              // up, ready, not ejected
  std::uint64_t in_use_for_ms = 0;  // since it came into use
  std::uint32_t weight = 1;         // as configured
  std::uint64_t finished = 0;       // requests that ended, well or not, since the last update
  std::uint64_t failed = 0;         // of these
  std::uint64_t latency_sum_us = 0;
  std::uint64_t latency_count = 0;
  double utilisation = 0;           // as last reported, 1 being full; 0: never
  double reported_qps = 0;          // with that, of all its clients; 0: not reported, ours count
  double reported_error_rate = 0;   // 0: not reported, ours counts
  std::uint64_t report_age_ms = 0;  // how old that is
};

// One instance's weight, and all that explains it.
struct Controlled {
  double multiplier = 1;  // of the configured weight, in [floor, 1]
  double target = 1;      // where it is going
  WeightReason reason = WeightReason::configured;
  double qps = 0;
  double latency_us = 0;  // 0: not known
  double error_rate = 0;  // 0..1
  double utilisation = 0;
  std::uint64_t unheard_ms = 0;  // since a request last ended
};

// One update. `inputs` and `instances` are parallel; `elapsed` is the time since the last one.
void update_weights(const ControllerSettings& settings, Milliseconds elapsed,
                    std::span<const ControlInput> inputs, std::span<Controlled> instances);

}  // namespace ballast::checker
