// The models, one class each.
#include "bench/simulator/peers.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bench/simulator/random.hpp"
#include "bench/simulator/scenario.hpp"

namespace ballast::bench::sim {

namespace {

// What all of them have: the backends that may be picked, known to every worker at once.
class Peer : public Chooser {
 public:
  explicit Peer(const Sizes& sizes) : sizes_(sizes), random_(sizes.seed) {
    for (std::uint32_t b = 0; b < sizes.backends; ++b)
      usable_.push_back(b);
  }
  void report(std::uint64_t, std::uint32_t, const Ticket&, Outcome, std::uint64_t) override {}
  void set_usable(std::uint64_t, std::uint32_t backend, bool usable) override {
    const auto at = std::lower_bound(usable_.begin(), usable_.end(), backend);
    const bool was = at != usable_.end() && *at == backend;
    if (usable && !was) usable_.insert(at, backend);
    if (!usable && was) usable_.erase(at);
  }

 protected:
  template <class T>
  [[nodiscard]] std::vector<T> matrix() const {
    return std::vector<T>(std::size_t{sizes_.workers} * sizes_.backends);
  }
  [[nodiscard]] std::size_t at(std::uint32_t worker, std::uint32_t backend) const {
    return std::size_t{worker} * sizes_.backends + backend;
  }
  // Two different ones, or twice the only one.
  std::pair<std::uint32_t, std::uint32_t> two() {
    const auto n = static_cast<std::uint32_t>(usable_.size());
    const std::uint32_t first = random_.below(n);
    if (n == 1) return {usable_[0], usable_[0]};
    const std::uint32_t second = random_.below(n - 1);
    return {usable_[first], usable_[second + (second >= first ? 1 : 0)]};
  }

  Sizes sizes_;
  Random random_;
  std::vector<std::uint32_t> usable_;  // sorted
};

class RoundRobin final : public Peer {
 public:
  explicit RoundRobin(const Sizes& sizes) : Peer(sizes) {
    for (std::uint32_t w = 0; w < sizes.workers; ++w)
      next_.push_back(random_.below(sizes.backends));
  }
  Ticket pick(std::uint64_t, std::uint32_t worker, std::uint64_t) override {
    if (usable_.empty()) return {kNoBackend};
    auto next = std::lower_bound(usable_.begin(), usable_.end(), next_[worker]);
    if (next == usable_.end()) next = usable_.begin();
    next_[worker] = *next + 1;
    return {*next};
  }

 private:
  std::vector<std::uint32_t> next_;
};

class LeastRequest final : public Peer {
 public:
  explicit LeastRequest(const Sizes& sizes) : Peer(sizes), active_(matrix<std::uint32_t>()) {}
  Ticket pick(std::uint64_t, std::uint32_t worker, std::uint64_t) override {
    if (usable_.empty()) return {kNoBackend};
    const auto [a, b] = two();
    const std::uint32_t best = active_[at(worker, b)] < active_[at(worker, a)] ? b : a;
    ++active_[at(worker, best)];
    return {best};
  }
  void report(std::uint64_t, std::uint32_t worker, const Ticket& ticket, Outcome,
              std::uint64_t) override {
    --active_[at(worker, ticket.backend)];
  }

 private:
  std::vector<std::uint32_t> active_;
};

class PeakEwma final : public Peer {
 public:
  explicit PeakEwma(const Sizes& sizes) : Peer(sizes), metrics_(matrix<Metric>()) {}
  Ticket pick(std::uint64_t now_ns, std::uint32_t worker, std::uint64_t) override {
    if (usable_.empty()) return {kNoBackend};
    const auto [a, b] = two();
    const double load_a = load(metrics_[at(worker, a)], now_ns);
    const double load_b = load(metrics_[at(worker, b)], now_ns);
    const std::uint32_t best = load_b < load_a ? b : a;
    ++metrics_[at(worker, best)].pending;
    return {best};
  }
  void report(std::uint64_t now_ns, std::uint32_t worker, const Ticket& ticket, Outcome,
              std::uint64_t latency_ns) override {
    Metric& metric = metrics_[at(worker, ticket.backend)];
    --metric.pending;
    observe(metric, now_ns, static_cast<double>(latency_ns));
  }

 private:
  struct Metric {
    double cost_ns = 0;
    std::uint64_t stamp_ns = 0;
    std::uint32_t pending = 0;
  };
  static constexpr double kTau_ns = 10e9;
  static constexpr double kPenalty = 1e18;  // a first request is answered before a second is sent

  static void observe(Metric& metric, std::uint64_t now_ns, double rtt_ns) {
    const double w = std::exp(-static_cast<double>(now_ns - metric.stamp_ns) / kTau_ns);
    metric.stamp_ns = now_ns;
    metric.cost_ns = rtt_ns > metric.cost_ns ? rtt_ns : metric.cost_ns * w + rtt_ns * (1 - w);
  }
  static double load(Metric& metric, std::uint64_t now_ns) {
    observe(metric, now_ns, 0);
    if (metric.cost_ns == 0 && metric.pending != 0) return kPenalty + metric.pending;
    return metric.cost_ns * (metric.pending + 1);
  }

  std::vector<Metric> metrics_;
};

class Ring final : public Peer {
 public:
  explicit Ring(const Sizes& sizes)
      : Peer(sizes), states_(matrix<State>()), rings_(sizes.workers), due_(sizes.workers, 0) {
    for (std::uint32_t b = 0; b < sizes.backends; ++b) {
      for (std::uint32_t i = 0; i < kPoints; ++i)
        points_.push_back({random_.next(), b});
    }
    std::sort(points_.begin(), points_.end(),
              [](const Point& a, const Point& b) { return a.hash < b.hash; });
    for (auto& ring : rings_)
      ring = points_;
  }
  Ticket pick(std::uint64_t now_ns, std::uint32_t worker, std::uint64_t key_hash) override {
    if (due_[worker] <= now_ns) build(worker, now_ns);
    const auto& ring = rings_[worker];
    if (ring.empty()) return {kNoBackend};
    auto point = std::lower_bound(ring.begin(), ring.end(), key_hash,
                                  [](const Point& p, std::uint64_t hash) { return p.hash < hash; });
    return {point == ring.end() ? ring.front().backend : point->backend};
  }
  void report(std::uint64_t now_ns, std::uint32_t worker, const Ticket& ticket, Outcome outcome,
              std::uint64_t) override {
    State& state = states_[at(worker, ticket.backend)];
    if (outcome == Outcome::success) {
      state.failures = 0;
    } else if (++state.failures == kFailures) {
      state = {0, state.times + 1, now_ns + kEjection_ns * (state.times + 1)};
      build(worker, now_ns);
    }
  }
  void set_usable(std::uint64_t now_ns, std::uint32_t backend, bool usable) override {
    Peer::set_usable(now_ns, backend, usable);
    for (std::uint32_t w = 0; w < sizes_.workers; ++w)
      build(w, now_ns);
  }

 private:
  static constexpr std::uint32_t kPoints = 160;
  static constexpr std::uint32_t kFailures = 5;
  static constexpr std::uint64_t kEjection_ns = 30 * kSecond_ns;
  struct Point {
    std::uint64_t hash;
    std::uint32_t backend;
  };
  struct State {
    std::uint32_t failures = 0;
    std::uint32_t times = 0;
    std::uint64_t ejected_until_ns = 0;
  };

  void build(std::uint32_t worker, std::uint64_t now_ns) {
    std::vector<char> in(sizes_.backends, 0);
    due_[worker] = UINT64_MAX;
    for (const std::uint32_t b : usable_) {
      const std::uint64_t until = states_[at(worker, b)].ejected_until_ns;
      in[b] = until <= now_ns ? 1 : 0;
      if (until > now_ns) due_[worker] = std::min(due_[worker], until);
    }
    auto& ring = rings_[worker];
    ring.clear();
    std::copy_if(points_.begin(), points_.end(), std::back_inserter(ring),
                 [&](const Point& point) { return in[point.backend] != 0; });
  }

  std::vector<State> states_;
  std::vector<Point> points_;
  std::vector<std::vector<Point>> rings_;
  std::vector<std::uint64_t> due_;  // when an ejection ends
};

}  // namespace

std::unique_ptr<Chooser> worker_round_robin(const Sizes& sizes) {
  return std::make_unique<RoundRobin>(sizes);
}
std::unique_ptr<Chooser> worker_least_request(const Sizes& sizes) {
  return std::make_unique<LeastRequest>(sizes);
}
std::unique_ptr<Chooser> worker_peak_ewma(const Sizes& sizes) {
  return std::make_unique<PeakEwma>(sizes);
}
std::unique_ptr<Chooser> worker_ring(const Sizes& sizes) {
  return std::make_unique<Ring>(sizes);
}

}  // namespace ballast::bench::sim
