// Models of what others do, each worker by itself, as their sources and documents describe it (see
// docs/simulator.md for where each differs from the original). They learn from nothing but their
// own worker's requests; health is known to all at once, which favours them.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/simulator/chooser.hpp"

namespace ballast::bench::sim {

// How many there are of what a chooser has to know.
struct Sizes {
  std::uint32_t backends = 0;
  std::uint32_t workers = 0;
  std::uint64_t seed = 0;
  std::uint64_t load_interval_ns = 2'000'000;  // production code: between two looks
};

// The next one in the list, from a place of each worker's own (nginx without `zone`).
[[nodiscard]] std::unique_ptr<Chooser> worker_round_robin(const Sizes& sizes);
// The one of two with fewer requests in flight (Envoy's LEAST_REQUEST with equal weights).
[[nodiscard]] std::unique_ptr<Chooser> worker_least_request(const Sizes& sizes);
// The one of two with the lower peak EWMA times load (Finagle's PeakEwma in its p2c balancer).
[[nodiscard]] std::unique_ptr<Chooser> worker_peak_ewma(const Sizes& sizes);
// A ring of 160 points each; five failures in a row eject a backend for 30 s, and the worker that
// ejected it builds its ring anew, without it (Envoy's RING_HASH with outlier detection).
[[nodiscard]] std::unique_ptr<Chooser> worker_ring(const Sizes& sizes);

}  // namespace ballast::bench::sim
