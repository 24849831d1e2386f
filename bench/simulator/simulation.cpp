// The event loop. Four sources of events, each in order by itself: requests and changes were made
// beforehand, time limits expire in the order of arrival, and every backend knows when its next
// request is done; the earliest of them is next, ties in a fixed order.
#include "bench/simulator/simulation.hpp"

#include <algorithm>
#include <cmath>

#include "bench/simulator/backend.hpp"

namespace ballast::bench::sim {

namespace {

enum class Phase : std::uint8_t { pending, done };

class Run {
 public:
  Run(const Scenario& scenario, Chooser& chooser)
      : scenario_(scenario),
        chooser_(chooser),
        limit_ns_(to_ns(scenario.scale.limit_ms)),
        fail_ns_(to_ns(scenario.scale.fail_ms)),
        warm_ns_(to_ns(scenario.scale.warm_up_seconds * 1e3)),
        backends_(scenario.scale.backends, Backend(scenario.discipline, scenario.scale.servers)),
        fails_(scenario.scale.backends, false),
        flights_(scenario.requests.size()) {
    done_.assign(tree_size(), kNever);
    result_.per_backend.assign(scenario.scale.backends, 0);
    result_.latency_ms.reserve(scenario.requests.size());
  }

  Result run() {
    std::uint64_t tick = chooser_.tick(0);
    std::size_t change = 0;
    std::size_t arrival = 0;
    while (true) {
      const std::uint64_t change_ns =
          change < scenario_.changes.size() ? scenario_.changes[change].at_ns : kNever;
      const std::uint64_t arrival_ns =
          arrival < scenario_.requests.size() ? scenario_.requests[arrival].arrives_ns : kNever;
      const std::uint64_t tick_ns = tick == 0 ? kNever : tick;
      const std::uint64_t failed_ns =
          first_failing_ < failing_.size() ? failing_[first_failing_].at_ns : kNever;
      const std::uint64_t limit_ns = next_limit_ns(arrival);
      const std::uint64_t done_ns = done_[1];
      const std::uint64_t others = std::min({failed_ns, limit_ns, done_ns, arrival_ns});
      if (others == kNever) break;
      if (change_ns <= others && change_ns <= tick_ns) {
        apply(scenario_.changes[change++]);
      } else if (tick_ns <= others) {
        tick = chooser_.tick(tick_ns);
      } else if (done_ns == others) {
        finish(done_ns);
      } else if (failed_ns == others) {
        end(failed_ns, failing_[first_failing_++].request, Outcome::error);
      } else if (limit_ns == others) {
        end(limit_ns, static_cast<std::uint32_t>(first_limit_++), Outcome::timeout);
      } else {
        begin(static_cast<std::uint32_t>(arrival++));
      }
    }
    std::sort(result_.latency_ms.begin(), result_.latency_ms.end());
    return std::move(result_);
  }

 private:
  struct Flight {
    Ticket ticket;
    Phase phase = Phase::pending;
  };
  struct Failing {
    std::uint64_t at_ns;
    std::uint32_t request;
  };

  static std::uint64_t to_ns(double ms) { return static_cast<std::uint64_t>(ms * 1e6); }

  // The backends' next moments, as a tree of minima over a power of two of leaves: [1] is the
  // earliest.
  [[nodiscard]] std::size_t leaves() const {
    std::size_t n = 1;
    while (n < scenario_.scale.backends)
      n *= 2;
    return n;
  }
  [[nodiscard]] std::size_t tree_size() const { return 2 * leaves(); }
  void note_next(std::uint32_t backend) {
    std::size_t node = done_.size() / 2 + backend;
    done_[node] = backends_[backend].next_ns();
    for (node /= 2; node > 0; node /= 2)
      done_[node] = std::min(done_[2 * node], done_[2 * node + 1]);
  }
  [[nodiscard]] std::uint32_t earliest_backend() const {
    std::size_t node = 1;
    while (node < done_.size() / 2)
      node = done_[2 * node] == done_[node] ? 2 * node : 2 * node + 1;
    return static_cast<std::uint32_t>(node - done_.size() / 2);
  }

  // Limits expire in the order of arrival; those of requests that ended are stepped over.
  std::uint64_t next_limit_ns(std::size_t arrived) {
    while (first_limit_ < arrived && flights_[first_limit_].phase == Phase::done)
      ++first_limit_;
    return first_limit_ < arrived ? scenario_.requests[first_limit_].arrives_ns + limit_ns_
                                  : kNever;
  }

  void apply(const Change& change) {
    switch (change.kind) {
      case Change::Kind::speed:
        backends_[change.backend].set_speed(change.at_ns, change.value);
        note_next(change.backend);
        break;
      case Change::Kind::fails:
        fails_[change.backend] = change.value != 0;
        break;
      case Change::Kind::usable:
        chooser_.set_usable(change.at_ns, change.backend, change.value != 0);
        break;
    }
  }

  void begin(std::uint32_t number) {
    const Request& request = scenario_.requests[number];
    Flight& flight = flights_[number];
    const std::uint64_t now = request.arrives_ns;
    flight.ticket = chooser_.pick(now, request.worker, request.key_hash);
    const std::uint32_t backend = flight.ticket.backend;
    if (backend == kNoBackend) {
      flight.phase = Phase::done;
      count(request, Outcome::error, 0);
      return;
    }
    if (now >= warm_ns_) ++result_.per_backend[backend];
    if (fails_[backend]) {
      failing_.push_back({now + fail_ns_, number});
      return;
    }
    backends_[backend].add(now, number, request.work_ns);
    note_next(backend);
  }

  void finish(std::uint64_t now) {
    const std::uint32_t backend = earliest_backend();
    const std::uint32_t number = backends_[backend].finish(
        now, [this](std::uint32_t request) { return flights_[request].phase == Phase::done; });
    note_next(backend);
    if (flights_[number].phase == Phase::pending) end(now, number, Outcome::success);
  }

  void end(std::uint64_t now, std::uint32_t number, Outcome outcome) {
    const Request& request = scenario_.requests[number];
    Flight& flight = flights_[number];
    if (flight.phase == Phase::done) return;
    flight.phase = Phase::done;
    const std::uint64_t latency_ns = now - request.arrives_ns;
    chooser_.report(now, request.worker, flight.ticket, outcome, latency_ns);
    count(request, outcome, latency_ns);
  }

  void count(const Request& request, Outcome outcome, std::uint64_t latency_ns) {
    if (request.arrives_ns < warm_ns_) return;
    ++result_.requests;
    if (outcome != Outcome::success) ++result_.errors;
    result_.latency_ms.push_back(static_cast<float>(
        static_cast<double>(outcome == Outcome::success ? latency_ns : limit_ns_) / 1e6));
  }

  const Scenario& scenario_;
  Chooser& chooser_;
  std::uint64_t limit_ns_;
  std::uint64_t fail_ns_;
  std::uint64_t warm_ns_;
  std::vector<Backend> backends_;
  std::vector<bool> fails_;
  std::vector<Flight> flights_;
  std::vector<std::uint64_t> done_;
  std::vector<Failing> failing_;  // in order: every one takes as long as the next
  std::size_t first_failing_ = 0;
  std::size_t first_limit_ = 0;
  Result result_;
};

}  // namespace

double Result::quantile_ms(double q) const {
  if (latency_ms.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(latency_ms.size())));
  return latency_ms[std::clamp<std::size_t>(rank, 1, latency_ms.size()) - 1];
}

Result simulate(const Scenario& scenario, Chooser& chooser) {
  return Run(scenario, chooser).run();
}

}  // namespace ballast::bench::sim
