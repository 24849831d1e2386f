// The measuring loop: barrier, burst, figure into shared memory; then medians in the parent.
#include "bench/support/paired.hpp"

#include <memory>
#include <optional>
#include <vector>

#include "bench/support/clock.hpp"
#include "bench/support/processes.hpp"

namespace ballast::bench {

namespace {

constexpr std::size_t kWarmUpPairs = 10;

struct Stage {
  Barrier barrier;
  std::atomic<bool> stop{false};
};

double time_burst(const Burst& burst, std::uint64_t operations) {
  const std::uint64_t from = monotonic_ns();
  burst(operations);
  return static_cast<double>(monotonic_ns() - from) / static_cast<double>(operations);
}

// [pair][rank][0: base, 1: subject], in nanoseconds an operation
using Figures = SharedArray<double>;

void measure(const PairedPlan& plan, const Contenders& contenders, unsigned rank, Stage& stage,
             const Figures& figures) {
  const std::size_t all = plan.rounds * plan.pairs;
  for (std::size_t i = 0; i < all + kWarmUpPairs; ++i) {
    const std::size_t pair = i < kWarmUpPairs ? 0 : i - kWarmUpPairs;
    double* out = &figures[(pair * plan.processes + rank) * 2];
    for (std::size_t half = 0; half < 2; ++half) {
      const bool subject = (half == 1) != (i % 2 == 1);
      stage.barrier.wait(plan.processes);
      out[subject ? 1 : 0] = subject ? time_burst(contenders.subject, plan.subject_operations)
                                     : time_burst(contenders.base, plan.base_operations);
    }
  }
}

}  // namespace

PairedResult run_paired(const PairedPlan& plan,
                        const std::function<Contenders(unsigned rank)>& make) {
  const SharedArray<Stage> stage(1);
  const Figures figures(plan.rounds * plan.pairs * plan.processes * 2);
  std::optional<Child> beside;
  if (plan.beside) {
    beside.emplace([&] {
      pin(plan.processes);
      plan.beside(stage[0].stop);
    });
  }
  run_processes(plan.processes,
                [&](unsigned rank) { measure(plan, make(rank), rank, stage[0], figures); });
  stage[0].stop.store(true, std::memory_order_relaxed);
  if (beside) beside->join();

  std::vector<double> ratios, base_ns, subject_ns;
  for (std::size_t round = 0; round < plan.rounds; ++round) {
    std::vector<double> ratio, base, subject;
    for (std::size_t i = round * plan.pairs; i < (round + 1) * plan.pairs; ++i) {
      double sum[2] = {0, 0};
      for (unsigned rank = 0; rank < plan.processes; ++rank) {
        sum[0] += figures[(i * plan.processes + rank) * 2];
        sum[1] += figures[(i * plan.processes + rank) * 2 + 1];
      }
      ratio.push_back(sum[1] / sum[0]);
      base.push_back(sum[0] / plan.processes);
      subject.push_back(sum[1] / plan.processes);
    }
    ratios.push_back(median(ratio));
    base_ns.push_back(median(base));
    subject_ns.push_back(median(subject));
  }
  return {spread_of(ratios), spread_of(base_ns), spread_of(subject_ns)};
}

}  // namespace ballast::bench
