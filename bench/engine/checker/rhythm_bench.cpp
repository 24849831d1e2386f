// Whether ten thousand checks are spread over time, when instances and checker start, when every
// check changes at a reload, and when a network that was gone comes back; and how late checks are
// with twenty thousand. The times of checks are those at which the kernel received them at the
// targets; lateness is that of timers beside the checks' own on the same loop.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/engine/checker/cases.hpp"
#include "bench/engine/checker/contenders.hpp"
#include "bench/engine/checker/scraper.hpp"
#include "bench/engine/checker/states.hpp"
#include "bench/engine/checker/targets.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/live_checker.hpp"
#include "bench/support/namespace.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

constexpr std::size_t kBurst = 10;      // bins of a millisecond
constexpr std::size_t kAround = 500;    // bins before and after, of which the mean is taken
constexpr std::size_t kLooked = 6'000;  // bins, from the first check on
constexpr std::size_t kRhythmRounds = 2;

void sleep_ms(std::uint64_t ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// The bin in which it is now.
std::size_t bin_now(const Arrivals& arrivals) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const auto ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
                  static_cast<std::uint64_t>(now.tv_nsec);
  return static_cast<std::size_t>((ns - arrivals.begin_ns) / 1'000'000U);
}

// The most requests in any ten milliseconds after `from`, over the mean of the second around them,
// or over that of the configured rhythm where that is more (a start has little before it).
double burst_over_mean(const Arrivals& arrivals, std::size_t from, double usual_a_second) {
  std::vector<double> bins;
  for (std::size_t i = from; i < Arrivals::kBins && bins.size() < kLooked; ++i) {
    const auto count = arrivals.requests_in[i].load(std::memory_order_relaxed);
    if (bins.empty() && count == 0) continue;
    bins.push_back(count);
  }
  double worst = 0;
  for (std::size_t i = 0; i + kBurst <= bins.size(); ++i) {
    double burst = 0, around = 0;
    for (std::size_t j = i; j < i + kBurst; ++j)
      burst += bins[j];
    const std::size_t first = i > kAround ? i - kAround : 0;
    const std::size_t last = std::min(bins.size(), i + kBurst + kAround);
    for (std::size_t j = first; j < last; ++j)
      around += bins[j];
    const double mean = std::max(around / static_cast<double>(last - first) * kBurst,
                                 usual_a_second / 1000 * kBurst);
    worst = std::max(worst, burst / mean);
  }
  return worst;
}

struct Bursts {
  std::vector<double> start, steady, reload, recovery;
};

void bench_bursts(Bursts& bursts, std::uint16_t metrics_port = 0) {
  const std::size_t instances = scale().instances;
  const auto usual = static_cast<double>(instances);
  const std::uint16_t port = tests::free_port();
  const TargetsOptions where{.port = port, .rank = kTargetsRank, .by_time = true};
  auto targets = std::make_unique<Targets>(where);
  ContenderOptions options{.checks = Checks::http_keepalive,
                           .instances = instances,
                           .port = port,
                           .metrics_port = metrics_port};
  BallastChecker checker(options);
  std::optional<Scraper> scraper;
  States states(checker.segments());
  states.wait_for(instances, "the instances did not come up");
  if (metrics_port != 0) scraper.emplace(metrics_port, kTargetsRank);
  sleep_ms(kLooked + 500);
  bursts.start.push_back(burst_over_mean(targets->arrivals(), 0, usual));
  const std::size_t calm = bin_now(targets->arrivals());
  sleep_ms(kLooked + 500);
  bursts.steady.push_back(burst_over_mean(targets->arrivals(), calm, usual));
  // Another path is another check for each of them.
  options.extra = "path = \"/another\"\n";
  const std::size_t reloaded = bin_now(targets->arrivals());
  checker.reload(options);
  sleep_ms(kLooked + 500);
  bursts.reload.push_back(burst_over_mean(targets->arrivals(), reloaded, usual));
  targets->kill();
  states.wait_for_none("the instances did not go down");
  sleep_ms(3'000);
  targets = std::make_unique<Targets>(where);
  states.wait_for(instances, "the instances did not come up again");
  sleep_ms(kLooked + 500);
  bursts.recovery.push_back(burst_over_mean(targets->arrivals(), 0, usual));
}

// The parts and the worst of them, which counts.
void add_bursts(Rows& rows, const std::string& id, const Bursts& bursts) {
  const auto add = [&](const char* name, const std::vector<double>& values) {
    rows.add({id + "/" + name, spread_of(values), "x", Better::lower, {}});
  };
  add("start", bursts.start);
  add("steady", bursts.steady);
  add("reload", bursts.reload);
  add("recovery", bursts.recovery);
  rows.add_worst(id, Better::lower, Goal{"<= 1.5x", 1.5});
}

void bench_rhythm(Rows& rows) {
  Bursts bursts;
  for (std::size_t round = 0; round < std::min(kRhythmRounds, scale().rounds); ++round)
    bench_bursts(bursts);
  add_bursts(rows, "check.burst_over_mean", bursts);
}

void bench_rhythm_of_all_features(Rows& rows) {
  Bursts bursts;
  bench_bursts(bursts, tests::free_port());
  add_bursts(rows, "check.burst_over_mean_all_features", bursts);
}

constexpr std::size_t kSamplers = 400;  // timers beside the checks, each once a second
constexpr std::uint64_t kLagNs = 10'000'000'000;

// Timers at random times on the checker's loop, which note how late they fire.
class Samplers {
 public:
  Samplers(checker::Loop& loop, double* p99_ms) : loop_(loop), p99_ms_(p99_ms) {
    begin_ = std::chrono::steady_clock::now() + std::chrono::seconds(4);  // after the first checks
    for (std::size_t i = 0; i < kSamplers; ++i) {
      due_.emplace_back();
      timers_.push_back(loop.timers().create([this, i] { on_timer(i); }));
      arm(i, begin_);
    }
  }

 private:
  void arm(std::size_t i, checker::Timers::TimePoint from) {
    due_[i] = from + std::chrono::nanoseconds(random_() % 2'000'000'000U);
    loop_.timers().arm(timers_[i], due_[i]);
  }

  void on_timer(std::size_t i) {
    const auto now = std::chrono::steady_clock::now();
    late_ms_.push_back(std::chrono::duration<double, std::milli>(now - due_[i]).count());
    if (now - begin_ < std::chrono::nanoseconds(kLagNs)) return arm(i, now);
    if (*p99_ms_ == 0) *p99_ms_ = quantile(late_ms_, 0.99);
  }

  checker::Loop& loop_;
  double* p99_ms_;
  checker::Timers::TimePoint begin_;
  std::mt19937_64 random_{1};
  std::vector<checker::Timers::TimePoint> due_;
  std::vector<checker::Timers::Id> timers_;
  std::vector<double> late_ms_;
};

double lag_p99_ms() {
  const std::size_t instances = 2 * scale().instances;
  const std::uint16_t port = tests::free_port();
  const Targets targets({.port = port, .rank = kTargetsRank});
  checker::Settings settings = settings_of(0, engine::Strategy::maglev);
  settings.services[0].check = {};
  settings.services[0].check.interval = std::chrono::milliseconds(1000);
  for (const shm::Endpoint& endpoint : target_endpoints(instances, port))
    settings.services[0].instances.push_back({endpoint, endpoint.to_text(), 1});
  const SharedArray<double> p99(1);
  const tests::TempDir directory;
  Child checker([&] {
    allow_descriptors();
    pin(kCheckerRank);
    run_at_real_time();
    std::unique_ptr<Samplers> samplers;
    run_checker(directory.path(), settings,
                [&](checker::Loop& loop) { samplers = std::make_unique<Samplers>(loop, &p99[0]); });
  });
  const std::uint64_t limit = monotonic_ns() + 5 * kLagNs;
  while (*static_cast<volatile double*>(&p99[0]) == 0) {
    if (monotonic_ns() > limit) throw std::runtime_error("nothing was measured");
    sleep_ms(50);
  }
  return p99[0];
}

void bench_lag(Rows& rows) {
  std::vector<double> rounds;
  for (std::size_t round = 0; round < std::min(kRhythmRounds, scale().rounds); ++round)
    rounds.push_back(lag_p99_ms());
  rows.add({"check.lag_p99_ms", spread_of(rounds), "ms", Better::lower, Goal{"<= 10 ms", 10}});
}

// How many checks started within each bound of the histogram of lags, by a page of metrics.
std::map<double, double> lags_in(const std::string& page) {
  std::map<double, double> out;
  std::istringstream lines(page);
  const std::string begin = "ballast_prober_check_lag_seconds_bucket{le=\"";
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(begin)) continue;
    const auto end = line.find("\"} ");
    if (end == std::string::npos) continue;
    const std::string bound = line.substr(begin.size(), end - begin.size());
    out[bound == "+Inf" ? HUGE_VAL : std::strtod(bound.c_str(), nullptr)] =
        std::strtod(line.c_str() + end + 3, nullptr);
  }
  if (out.empty()) throw std::runtime_error("the metrics have no histogram of lags");
  return out;
}

// How many of so many connections ballastd can keep here: it wants four descriptors for every three
// of them, and some besides (docs/probing.md).
std::size_t may_keep(std::size_t connections) {
  allow_descriptors();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const auto allowed = static_cast<std::size_t>(limit.rlim_cur);
  return std::min(connections, (allowed - std::min<std::size_t>(allowed, 500)) / 4 * 3);
}

// The checker's own figure, from its metrics: the end of the bucket in which the quantile lies, so
// never less than it is.
double lag_p99_of_all_features(std::size_t kept) {
  const std::uint16_t port = tests::free_port();
  const std::uint16_t metrics_port = tests::free_port();
  const std::size_t instances = 2 * scale().instances;
  const Targets targets({.port = port, .rank = kTargetsRank});
  BallastChecker checker({.checks = Checks::http_keepalive,
                          .instances = instances,
                          .port = port,
                          .reconnecting = instances - kept,
                          .metrics_port = metrics_port});
  States states(checker.segments());
  states.wait_for(instances, "the instances did not come up");
  const Scraper scraper(metrics_port, kTargetsRank);
  sleep_ms(2'000);  // after the first checks
  const auto before = lags_in(scrape(metrics_port));
  sleep_ms(kLagNs / 1'000'000U);
  const auto after = lags_in(scrape(metrics_port));
  const double wanted = 0.99 * (after.at(HUGE_VAL) - before.at(HUGE_VAL));
  if (scraper.pages() < 10 || wanted <= 0) throw std::runtime_error("nothing was measured");
  for (const auto& [bound, count] : after)
    if (count - before.at(bound) >= wanted) return bound * 1000;
  return HUGE_VAL;
}

void bench_lag_of_all_features(Rows& rows) {
  const std::size_t instances = 2 * scale().instances;
  const std::size_t kept = may_keep(instances);
  rows.add({"check.lag_p99_all_features_ms", spread_of({lag_p99_of_all_features(kept)}), "ms",
            Better::lower, Goal{"<= 10 ms", 10}});
  if (kept < instances) {
    rows.note("check.lag_p99_all_features_ms: for want of descriptors " +
              std::to_string(instances - kept) + " are checked on new connections");
  }
}

}  // namespace

void add_rhythm_cases(Suite& suite) {
  suite.add("check.burst_over_mean", bench_rhythm);
  suite.add("check.lag_p99_ms", bench_lag);
  suite.add("check.burst_over_mean_all_features", bench_rhythm_of_all_features);
  suite.add("check.lag_p99_all_features_ms", bench_lag_of_all_features);
}

}  // namespace ballast::bench
