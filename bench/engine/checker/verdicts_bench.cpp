// What the checker says of ten thousand instances: how soon after its start of each, how soon after
// a death, whether it says anything wrong when it is killed and started again, and whether it calls
// instances down that are not while two busy loops want the same processors.
#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/engine/checker/cases.hpp"
#include "bench/engine/checker/contenders.hpp"
#include "bench/engine/checker/states.hpp"
#include "bench/engine/checker/targets.hpp"
#include "bench/engine/death_watch.hpp"
#include "bench/support/clock.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

constexpr std::uint64_t kAdoptionNs = 5'000'000'000;

// Looks at all states until `ns` have passed; how many instances were seen going down.
std::size_t downs_during(States& states, std::size_t instances, std::uint64_t ns,
                         std::chrono::microseconds pause) {
  std::size_t downs = 0;
  std::size_t last = instances;
  const std::uint64_t limit = monotonic_ns() + ns;
  while (monotonic_ns() < limit) {
    const std::size_t now = std::min(states.usable(), instances);
    if (now < last) downs += last - now;
    last = now;
    std::this_thread::sleep_for(pause);
  }
  return downs;
}

void bench_start(Rows& rows) {
  const std::size_t instances = scale().instances;
  std::vector<double> first_verdict, flaps;
  for (std::size_t round = 0; round < scale().rounds; ++round) {
    const std::uint16_t port = tests::free_port();
    const Targets targets({.port = port, .rank = kTargetsRank});
    const std::uint64_t from = monotonic_ns();
    BallastChecker checker(
        {.checks = Checks::http_keepalive, .instances = instances, .port = port});
    States states(checker.segments());
    states.wait_for(instances, "the instances did not come up");
    first_verdict.push_back(static_cast<double>(monotonic_ns() - from) / 1e9);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    checker.program().kill();
    checker.start();
    flaps.push_back(static_cast<double>(
        downs_during(states, instances, kAdoptionNs, std::chrono::microseconds(500))));
    if (!checker.program().alive())
      throw std::runtime_error("the successor ended: " + tail_of(checker.program().output()));
  }
  rows.add({"check.first_verdict_s", spread_of(first_verdict), "s", Better::lower, {}});
  rows.add({"check.adoption_flaps", spread_of(flaps), "flaps", Better::lower, Goal{"0", 0}});
}

double death_ms(std::size_t dying_count, Rest rest) {
  const std::size_t staying = scale().instances - dying_count;
  const std::uint16_t port = tests::free_port();
  const Targets targets({.port = port, .rank = kTargetsRank});
  const std::vector<shm::Endpoint> dying = endpoints_of(dying_count, 2);
  tests::TinyServer victim(tests::Behaviour::good, dying);
  // Dying is work, too, which what else runs on the machine may not hold up.
  run_at_real_time(victim.pid());
  BallastChecker checker(
      {.checks = Checks::http_keepalive, .instances = staying, .port = port, .more = dying});
  const std::uint64_t id = wait_until_up(checker.segments(), dying_count + staying);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // every connection is kept
  return watch_death(
      checker.segments(), id, dying, rest, [&] { victim.kill(/*wait=*/false); },
      /*real_time=*/true);
}

void bench_deaths(Rows& rows) {
  const std::size_t thousand = scale().instances / 10;
  std::vector<double> one, many;
  for (std::size_t round = 0; round < 2 * scale().rounds + 1; ++round) {
    one.push_back(death_ms(1, Rest{50'000}));
    many.push_back(death_ms(thousand, Rest{500'000}));
  }
  rows.add({"death.one_of_10k_ms", spread_of(one), "ms", Better::lower, Goal{"<= 2 ms", 2}});
  rows.add(
      {"death.thousand_of_10k_ms", spread_of(many), "ms", Better::lower, Goal{"<= 30 ms", 30}});
}

[[noreturn]] void spin() {
  volatile std::uint64_t count = 0;
  while (true)
    count = count + 1;
}

void bench_false_downs(Rows& rows) {
  const std::size_t instances = scale().instances;
  const std::uint16_t port = tests::free_port();
  // Nobody here has a privilege: the loops get as much of the processors as checker and targets.
  const Targets targets({.port = port, .rank = kTargetsRank, .by_time = false, .at_ease = true});
  BallastChecker checker(
      {.checks = Checks::http_keepalive, .instances = instances, .port = port, .at_ease = true});
  States states(checker.segments());
  states.wait_for(instances, "the instances did not come up");
  const Child first([] { spin(); });
  const Child second([] { spin(); });
  const std::size_t downs =
      downs_during(states, instances, scale().false_downs_ns, std::chrono::milliseconds(50));
  if (!checker.program().alive())
    throw std::runtime_error("the checker ended: " + tail_of(checker.program().output()));
  rows.add({"check.false_downs", spread_of({static_cast<double>(downs)}), "downs", Better::lower,
            Goal{"0", 0}});
  rows.note("check.false_downs: in " + std::to_string(scale().false_downs_ns / 1'000'000'000U) +
            " s");
}

}  // namespace

void add_verdict_cases(Suite& suite) {
  suite.add("death.of_10k_ms", bench_deaths);
  suite.add("check.first_verdict_s", bench_start);
}

void add_false_downs_case(Suite& suite) {
  suite.add("check.false_downs", bench_false_downs);
}

}  // namespace ballast::bench
