// Checks instances: opens connections, asks, judges the answers, and says when an instance's health
// has changed. It knows nothing of shared memory: verdicts go to a callback, and whoever is behind
// it writes them down. One thread, one loop. If the checker dies, so does everything here; its
// successor starts again with the health that it found (docs/probing.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/probing/health.hpp"
#include "engine/checker/probing/time_histogram.hpp"
#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

struct ProberOptions {
  std::uint64_t seed = 1;  // of the jitter
  LogFn log;
};

struct ProberStats {
  std::uint64_t checks = 0;            // finished, with a result
  std::uint64_t connects = 0;          // connections opened
  std::uint64_t connections_lost = 0;  // kept connections that the other side ended (sentinel)
  std::uint64_t stale_retries = 0;     // checks repeated because a kept connection was already gone
  std::uint64_t second_attempts = 0;   // connections tried again soon after a lost one
  std::uint64_t no_result = 0;         // checks that could not be made here (descriptors, ports)
  std::uint64_t postponed = 0;         // checks put off because all streams were in use
  std::uint64_t held_back = 0;         // checks put off because too many would have started at once
  std::uint64_t brought_forward = 0;   // checks made at once: a lost connection, reported failures
  TimeHistogram durations;             // of the checks that have a result
  TimeHistogram lags;                  // from when a check was due to when it started
  std::size_t targets = 0;
  std::size_t kept = 0;  // idle connections being watched
  std::size_t commands_running = 0;
  std::size_t commands_stuck = 0;  // of those, killed and still there
};

class Prober {
 public:
  // Both may add, update and remove instances, also the one that they are told about.
  using OnVerdict = std::function<void(InstanceId, const Verdict&)>;
  using OnCheck = std::function<void(InstanceId, const CheckResult&)>;

  // `loop` must outlive the prober. `on_check` may be empty; it is told first.
  Prober(Loop& loop, ProberOptions options, OnVerdict on_verdict, OnCheck on_check);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  // Starts checking. False if the id is taken. With CheckKind::none nothing is ever checked or
  // reported. No verdict is reported for what `known` or the first-check policy already says.
  bool add(InstanceId id, const InstanceSettings& instance, const CheckSettings& check,
           Health known = Health::unknown);
  // Changes how or where an instance is checked; its health stays until checks say otherwise. A
  // check that is under way is given up, and a new one made soon. False if there is no such id.
  bool update(InstanceId id, const InstanceSettings& instance, const CheckSettings& check);
  // Stops checking; nothing is reported for `id` any more. False if there is no such id.
  bool remove(InstanceId id);

  // Workers report failed requests to the instance: check it at once, if it is not being checked
  // anyway; not more often than the allowance for this (HealthMachine) lets it be.
  // False if there is no such id.
  bool check_soon(InstanceId id);
  // What requests to the instance are like, for the intervals that depend on it. False as above.
  bool set_demand(InstanceId id, Demand demand);

  [[nodiscard]] ProberStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast::checker
