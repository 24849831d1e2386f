// What a check costs, against HAProxy: both check the same targets in the same rhythm, one after
// the other in every round, on a processor of their own, and what they used of it is divided by the
// checks that arrived at the targets. A round's ratio is taken within the round. Memory is what is
// resident at the end of the round's last window.
#include <algorithm>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/engine/checker/cases.hpp"
#include "bench/engine/checker/contenders.hpp"
#include "bench/engine/checker/scraper.hpp"
#include "bench/engine/checker/targets.hpp"
#include "bench/support/clock.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

constexpr std::uint64_t kPatienceNs = 60'000'000'000;

void sleep_ns(std::uint64_t ns) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
}

struct Used {
  double us = 0;         // of processor, a check
  double a_second = 0;   // checks
  double megabytes = 0;  // resident
};

// Waits until every target has been checked three times.
void wait_for_checks(Program& program, const std::function<std::uint64_t()>& checks) {
  const Scale scale = bench::scale();
  const std::uint64_t begin = checks();
  const std::uint64_t limit = monotonic_ns() + kPatienceNs;
  while (checks() < begin + 3 * scale.instances) {
    if (!program.alive() || monotonic_ns() > limit)
      throw std::runtime_error("the checker does not check: " + tail_of(program.output()));
    sleep_ns(10'000'000);
  }
}

// What a window of it costs.
Used measure_window(Program& program, const std::function<std::uint64_t()>& checks) {
  const Scale scale = bench::scale();
  const std::uint64_t cpu = program.cpu_ns();
  const std::uint64_t softirq = softirq_ns(kCheckerRank);
  const std::uint64_t from = monotonic_ns();
  const std::uint64_t first = checks();
  sleep_ns(scale.window_ns);
  const auto spent = static_cast<double>(program.cpu_ns() - cpu) +
                     static_cast<double>(softirq_ns(kCheckerRank) - softirq);
  const auto made = static_cast<double>(checks() - first);
  const auto passed = static_cast<double>(monotonic_ns() - from);
  if (made <= 0) throw std::runtime_error("no check was made: " + tail_of(program.output()));
  return {spent / 1e3 / made, made / (passed / 1e9),
          static_cast<double>(program.resident_bytes()) / 1e6};
}

template <class Which>
Used measure(Checks checks) {
  // New for every run, so that no run meets the other's connections.
  const std::uint16_t port = tests::free_port();
  const Targets targets({.port = port, .rank = kTargetsRank});
  Which contender({.checks = checks, .instances = scale().instances, .port = port});
  const auto made = [&] {
    return checks == Checks::tcp ? connections_begun() : targets.requests();
  };
  wait_for_checks(contender.program(), made);
  return measure_window(contender.program(), made);
}

// The same of ballastd with all its features, while its metrics are scraped.
Used measure_all_features(Checks checks) {
  const std::uint16_t port = tests::free_port();
  const std::uint16_t metrics_port = tests::free_port();
  const Targets targets({.port = port, .rank = kTargetsRank});
  BallastChecker contender({.checks = checks,
                            .instances = scale().instances,
                            .port = port,
                            .metrics_port = metrics_port});
  const auto made = [&] {
    return checks == Checks::tcp ? connections_begun() : targets.requests();
  };
  wait_for_checks(contender.program(), made);
  const Scraper scraper(metrics_port, kTargetsRank);
  while (scraper.pages() == 0)
    sleep_ns(1'000'000);
  const std::uint64_t before = scraper.pages();
  // A scraper's own connection counts as one more of thousands.
  const Used used = measure_window(contender.program(), made);
  if (scraper.pages() < before + scale().window_ns / 1'000'000'000U)
    throw std::runtime_error("the metrics were not scraped each second");
  return used;
}

struct Column {
  std::vector<double> us, a_second, megabytes;
  void add(const Used& used) {
    us.push_back(used.us);
    a_second.push_back(used.a_second);
    megabytes.push_back(used.megabytes);
  }
};

std::vector<double> ratios(const std::vector<double>& subject, const std::vector<double>& base) {
  std::vector<double> out;
  for (std::size_t i = 0; i < subject.size(); ++i)
    out.push_back(subject[i] / base[i]);
  return out;
}

void add_rows(Rows& rows, const std::string& name, const Column& column) {
  rows.add({"check." + name + "_us", spread_of(column.us), "us", Better::lower, {}});
  rows.add({"check." + name + "_checks_a_second",
            spread_of(column.a_second),
            "1/s",
            Better::higher,
            {}});
}

void bench_http(Rows& rows) {
  Column haproxy, keepalive, http, all_keepalive, all_http;
  for (std::size_t round = 0; round < scale().rounds; ++round) {
    haproxy.add(measure<HaproxyChecker>(Checks::http));
    keepalive.add(measure<BallastChecker>(Checks::http_keepalive));
    http.add(measure<BallastChecker>(Checks::http));
    all_keepalive.add(measure_all_features(Checks::http_keepalive));
    all_http.add(measure_all_features(Checks::http));
  }
  rows.add({"check.http_keepalive_over_haproxy", spread_of(ratios(keepalive.us, haproxy.us)), "x",
            Better::lower, Goal{"<= 0.18x", 0.18}});
  rows.add({"check.http_over_haproxy", spread_of(ratios(http.us, haproxy.us)), "x", Better::lower,
            Goal{"<= 0.60x", 0.60}});
  rows.add({"check.memory_over_haproxy", spread_of(ratios(keepalive.megabytes, haproxy.megabytes)),
            "x", Better::lower, Goal{"<= 0.5x", 0.5}});
  rows.add({"check.http_keepalive_all_features_over_haproxy",
            spread_of(ratios(all_keepalive.us, haproxy.us)), "x", Better::lower,
            Goal{"<= 0.18x", 0.18}});
  rows.add({"check.http_all_features_over_haproxy", spread_of(ratios(all_http.us, haproxy.us)), "x",
            Better::lower, Goal{"<= 0.60x", 0.60}});
  rows.add({"check.memory_all_features_over_haproxy",
            spread_of(ratios(all_keepalive.megabytes, haproxy.megabytes)),
            "x",
            Better::lower,
            {}});
  add_rows(rows, "haproxy_http", haproxy);
  add_rows(rows, "http_keepalive", keepalive);
  add_rows(rows, "http", http);
  add_rows(rows, "http_keepalive_all_features", all_keepalive);
  add_rows(rows, "http_all_features", all_http);
  rows.add({"check.haproxy_memory_mb", spread_of(haproxy.megabytes), "MB", Better::lower, {}});
  rows.add({"check.memory_mb", spread_of(keepalive.megabytes), "MB", Better::lower, {}});
  rows.note("compared with " + haproxy_version() +
            (run_time_holds_softirqs()
                 ? "; run time holds a process's own soft interrupts, ksoftirqd is added"
                 : "; the processor's soft interrupts and ksoftirqd are added to run time"));
}

void bench_tcp(Rows& rows) {
  Column haproxy, tcp, all_tcp;
  for (std::size_t round = 0; round < scale().rounds; ++round) {
    haproxy.add(measure<HaproxyChecker>(Checks::tcp));
    tcp.add(measure<BallastChecker>(Checks::tcp));
    all_tcp.add(measure_all_features(Checks::tcp));
  }
  rows.add({"check.tcp_over_haproxy", spread_of(ratios(tcp.us, haproxy.us)), "x", Better::lower,
            Goal{"<= 0.90x", 0.90}});
  rows.add({"check.tcp_all_features_over_haproxy", spread_of(ratios(all_tcp.us, haproxy.us)), "x",
            Better::lower, Goal{"<= 0.90x", 0.90}});
  add_rows(rows, "haproxy_tcp", haproxy);
  add_rows(rows, "tcp", tcp);
  add_rows(rows, "tcp_all_features", all_tcp);
}

}  // namespace

void add_cost_cases(Suite& suite) {
  suite.add("check.http_over_haproxy", bench_http);
  suite.add("check.tcp_over_haproxy", bench_tcp);
}

}  // namespace ballast::bench
